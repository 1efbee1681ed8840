import type { Code } from "#lib/errors";
import type { Generated } from "../between/index.ts";

/** Counters of the calls, model by model. */
export interface Metrics {
  /** A call has ended: its outcome ("OK" or the code of its error). */
  ended(model: string, outcome: Code | "OK"): void;
  waited(model: string, ms: number): void;
  generated(model: string, generated: Generated): void;
  embedded(model: string, texts: number, tokens: number): void;
  /** Families of samples, as {@link text} takes them. */
  families(): Family[];
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** Of a histogram: "_bucket", "_sum" or "_count". */
  readonly suffix?: string;
}

export interface Family {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** Upper bounds of the histograms' buckets, seconds. */
const boundsS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Models and outcomes that are told apart: more series than these would be a caller's doing. */
const seriesMax = 512;

/** Fewer tokens say nothing of the speed. */
const speedTokensMin = 8;

type Labels = Readonly<Record<string, string>>;

class Series {
  readonly #series = new Map<string, { labels: Labels; value: number }>();

  add(labels: Labels, value: number): void {
    const key = JSON.stringify(labels);
    const series = this.#series.get(key);
    if (series !== undefined) series.value += value;
    else if (this.#series.size < seriesMax) this.#series.set(key, { labels, value });
  }

  /** Moves towards `value`: a mean of the latest. */
  approach(labels: Labels, value: number): void {
    const known = this.#series.get(JSON.stringify(labels))?.value;
    this.add(labels, known === undefined ? value : (value - known) / 8);
  }

  samples(): Sample[] {
    return [...this.#series.values()].map(({ labels, value }) => ({ labels, value }));
  }
}

class Histogram {
  readonly #series = new Map<string, { counts: number[]; sum: number }>();

  observe(model: string, seconds: number): void {
    let series = this.#series.get(model);
    if (series === undefined) {
      if (this.#series.size >= seriesMax) return;
      series = { counts: new Array<number>(boundsS.length + 1).fill(0), sum: 0 };
      this.#series.set(model, series);
    }
    const at = boundsS.findIndex((bound) => seconds <= bound);
    const bucket = at < 0 ? boundsS.length : at;
    series.counts[bucket] = (series.counts[bucket] ?? 0) + 1;
    series.sum += seconds;
  }

  samples(): Sample[] {
    return [...this.#series].flatMap(([model, { counts, sum }]) => {
      let below = 0;
      const buckets = counts.map((count, at) => {
        below += count;
        return { suffix: "_bucket", labels: { model, le: String(boundsS[at] ?? "+Inf") }, value: below };
      });
      return [
        ...buckets,
        { suffix: "_sum", labels: { model }, value: sum },
        { suffix: "_count", labels: { model }, value: below },
      ];
    });
  }
}

export function openMetrics(): Metrics {
  const calls = new Series();
  const tokens = new Series();
  const seconds = new Series();
  const speed = new Series();
  const reused = new Series();
  const texts = new Series();
  const queue = new Histogram();
  const firstToken = new Histogram();

  return {
    ended: (model, outcome) => calls.add({ model, outcome }, 1),
    waited: (model, ms) => queue.observe(model, ms / 1000),
    generated(model, { promptTokens, reusedTokens, answerTokens, promptMs, answerMs }) {
      tokens.add({ model, phase: "prompt" }, promptTokens - reusedTokens);
      tokens.add({ model, phase: "answer" }, answerTokens);
      seconds.add({ model, phase: "prompt" }, promptMs / 1000);
      seconds.add({ model, phase: "answer" }, answerMs / 1000);
      const read = promptTokens - reusedTokens;
      if (read >= speedTokensMin) speed.approach({ model, phase: "prompt" }, (read / promptMs) * 1000);
      if (answerTokens >= speedTokensMin) speed.approach({ model, phase: "answer" }, (answerTokens / answerMs) * 1000);
      reused.add({ model }, reusedTokens);
      if (answerTokens > 0) firstToken.observe(model, promptMs / 1000);
    },
    embedded(model, count, tokenCount) {
      texts.add({ model }, count);
      tokens.add({ model, phase: "embedding" }, tokenCount);
    },
    families: () => [
      {
        name: "aios_runtime_calls_total",
        type: "counter",
        help: "Calls that have ended, by outcome.",
        samples: calls.samples(),
      },
      {
        name: "aios_runtime_tokens_total",
        type: "counter",
        help: "Tokens read (prompt, embedding) and generated (answer); over the seconds below: tokens per second.",
        samples: tokens.samples(),
      },
      {
        name: "aios_runtime_seconds_total",
        type: "counter",
        help: "Time spent reading prompts and generating answers, summed over calls.",
        samples: seconds.samples(),
      },
      {
        name: "aios_runtime_tokens_per_second",
        type: "gauge",
        help: "Speed of one call, a mean of the latest.",
        samples: speed.samples(),
      },
      {
        name: "aios_runtime_reused_tokens_total",
        type: "counter",
        help: "Tokens of prompts that were still held from an earlier call.",
        samples: reused.samples(),
      },
      {
        name: "aios_runtime_embedded_texts_total",
        type: "counter",
        help: "Texts of which vectors were made.",
        samples: texts.samples(),
      },
      {
        name: "aios_runtime_queue_seconds",
        type: "histogram",
        help: "Time a call waited for its turn.",
        samples: queue.samples(),
      },
      {
        name: "aios_runtime_first_token_seconds",
        type: "histogram",
        help: "Time from a call's turn to its first token.",
        samples: firstToken.samples(),
      },
    ],
  };
}

/** Families in Prometheus' text format, 0.0.4. */
export function metricsText(families: readonly Family[]): string {
  return families
    .filter(({ samples }) => samples.length > 0)
    .map(({ name, type, help, samples }) =>
      [
        `# HELP ${name} ${help}`,
        `# TYPE ${name} ${type}`,
        ...samples.map(({ suffix = "", labels, value }) => `${name}${suffix}${brace(labels)} ${value}`),
        "",
      ].join("\n"),
    )
    .join("");
}

function brace(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n");
}
