import { AiosError, messageOf } from "#lib/errors";
import type { Completion, Prompt, Provider } from "./gateway.ts";

/** Where a provider is reached, with what key, and what it costs. */
export interface ProviderSettings {
  readonly model: string;
  readonly maxTokens: number;
  readonly monthlyBudgetUsd: number;
  /** Without a trailing slash. */
  readonly baseUrl: string;
  readonly apiKey?: string;
  readonly price: Price;
}

/** US dollars for a million tokens. */
export interface Price {
  readonly inputUsd: number;
  readonly outputUsd: number;
}

/** An answer that takes longer is given up. */
const requestTimeoutMs = 30_000;

interface ClaudeAnswer {
  readonly model: string;
  readonly content: readonly { readonly type: string; readonly text?: string }[];
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number };
}

/** Anthropic's Messages API. */
export function claude(settings: ProviderSettings): Provider {
  return provider("claude", settings, async (apiKey, prompt, signal) => {
    const answer = (await post(
      "claude",
      `${settings.baseUrl}/v1/messages`,
      { "x-api-key": apiKey, "anthropic-version": "2023-06-01" },
      {
        model: settings.model,
        max_tokens: prompt.maxTokens || settings.maxTokens,
        temperature: prompt.temperature,
        ...(prompt.system && { system: prompt.system }),
        messages: [{ role: "user", content: prompt.prompt }],
      },
      signal,
    )) as ClaudeAnswer;
    const text = answer.content.map((part) => part.text ?? "").join("");
    return completion(text, answer.model, answer.usage.input_tokens, answer.usage.output_tokens, settings.price);
  });
}

interface OpenAiAnswer {
  readonly model: string;
  readonly choices: readonly { readonly message: { readonly content: string | null } }[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
}

/** OpenAI's chat completions API, and whatever speaks it. */
export function openai(settings: ProviderSettings): Provider {
  return provider("openai", settings, async (apiKey, prompt, signal) => {
    const answer = (await post(
      "openai",
      `${settings.baseUrl}/v1/chat/completions`,
      { authorization: `Bearer ${apiKey}` },
      {
        model: settings.model,
        max_completion_tokens: prompt.maxTokens || settings.maxTokens,
        temperature: prompt.temperature,
        messages: [
          ...(prompt.system ? [{ role: "system", content: prompt.system }] : []),
          { role: "user", content: prompt.prompt },
        ],
      },
      signal,
    )) as OpenAiAnswer;
    const text = answer.choices[0]?.message.content ?? "";
    return completion(text, answer.model, answer.usage.prompt_tokens, answer.usage.completion_tokens, settings.price);
  });
}

type Complete = (apiKey: string, prompt: Prompt, signal: AbortSignal) => Promise<Completion>;

function provider(name: string, settings: ProviderSettings, complete: Complete): Provider {
  const { apiKey, monthlyBudgetUsd } = settings;
  if (apiKey === undefined) return { name, monthlyBudgetUsd };
  return { name, monthlyBudgetUsd, complete: (prompt, signal) => complete(apiKey, prompt, signal) };
}

function completion(text: string, model: string, inputTokens: number, outputTokens: number, price: Price): Completion {
  const costUsd = (inputTokens * price.inputUsd + outputTokens * price.outputUsd) / 1_000_000;
  return { text, model, inputTokens, outputTokens, costUsd };
}

async function post(
  name: string,
  url: string,
  headers: Record<string, string>,
  body: unknown,
  signal: AbortSignal,
): Promise<unknown> {
  const fault = (reason: string) => ({
    act: "ask",
    object: name,
    reason,
    next: "try again later, or allow another provider",
  });
  let response: Response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.any([signal, AbortSignal.timeout(requestTimeoutMs)]),
    });
  } catch (error) {
    throw new AiosError("UNAVAILABLE", fault(messageOf(error)), { cause: error });
  }
  if (!response.ok) throw new AiosError("UNAVAILABLE", fault(`it answered ${response.status}`));
  return await response.json();
}
