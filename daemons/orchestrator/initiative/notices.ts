/** Something that an agent, or another daemon, noticed. */
export interface Notice {
  /** "service.down". */
  readonly category: string;
  readonly severity: Severity;
  /** The subject: a service's name, a path. */
  readonly subject: string;
  /** In words. */
  readonly detail: string;
  /** The noticer: an agent's or daemon's name. */
  readonly source: string;
}

export const severities = ["info", "warning", "critical"] as const;
export type Severity = (typeof severities)[number];

/** Passes notices on to those who listen. */
export interface Notices {
  tell(notice: Notice): void;
  /** Returns what ends it. */
  listen(categories: readonly string[], listener: (notice: Notice) => void): () => void;
}

export function openNotices(): Notices {
  const listeners = new Set<(notice: Notice) => void>();
  return {
    tell(notice) {
      for (const listener of listeners) listener(notice);
    },
    listen(categories, listener) {
      const one = (notice: Notice) => {
        if (categories.some((pattern) => fits(pattern, notice.category))) listener(notice);
      };
      listeners.add(one);
      return () => listeners.delete(one);
    },
  };
}

/** Whether a category is the one named, or below it when that ends in ".*". */
export function fits(pattern: string, category: string): boolean {
  if (pattern === "*" || pattern === category) return true;
  return pattern.endsWith(".*") && category.startsWith(pattern.slice(0, -1));
}

/** A notice in words: "monitor noticed service.down of nginx: stopped: ended by SIGKILL". */
export function sayNotice({ category, subject, detail, source }: Notice): string {
  return `${source} noticed ${category} of ${subject}: ${detail}`;
}
