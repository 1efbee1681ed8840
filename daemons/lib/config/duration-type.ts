import * as Type from "typebox";

/** A duration of a file: one that is longer than `most` is refused, with its key. */
export const durationType = (most = "365d") =>
  Type.String({
    pattern: "^[0-9]+(ms|s|m|h|d)$",
    description: `a duration such as 30s, 5m or 1h, at most ${most}`,
    most,
  });
