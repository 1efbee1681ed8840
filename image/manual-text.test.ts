import { expect, it } from "vitest";
import { manualText } from "./manual-text.ts";

it("gives the text of a page, without fonts, layout and authors", () => {
  const roff = [
    '.TH LS "1" "2025" "GNU coreutils" "User Commands"',
    ".SH NAME",
    "ls \\- list directory contents",
    ".SH SYNOPSIS",
    ".B ls",
    "[\\fI\\,OPTION\\/\\fR]... [\\fI\\,FILE\\/\\fR]...",
    ".SH DESCRIPTION",
    '.\\" a comment',
    ".PP",
    "List information about",
    "the FILEs.",
    ".TP",
    "\\fB\\-a\\fR, \\fB\\-\\-all\\fR",
    "do not ignore entries starting with .",
    ".TP",
    '.BR "-l" ", --long" " (\\(aqlong\\(aq)"',
    "use a long listing",
    ".SS Sub \\(en section",
    ".IP \\(bu 2",
    "one",
    ".SH AUTHOR",
    "Somebody",
    '.SH "EXIT STATUS"',
    "0 if OK",
  ].join("\n");
  expect(manualText(roff)).toBe(
    [
      "NAME",
      "ls - list directory contents",
      "",
      "SYNOPSIS",
      "ls [OPTION]... [FILE]...",
      "",
      "DESCRIPTION",
      "List information about the FILEs.",
      "-a, --all do not ignore entries starting with .",
      "-l, --long ('long') use a long listing",
      "",
      "Sub – section",
      "- one",
      "",
      "EXIT STATUS",
      "0 if OK",
    ].join("\n"),
  );
});

it("never throws, whatever it is given", () => {
  for (const text of ["", ".", "'", "\\", ".SH", '.B "', ".TP\n.IP", "\\(", "\\f", "\\[x", "a\\\nb"]) manualText(text);
});
