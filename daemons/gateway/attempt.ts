import { saidJson } from "#lib/said-json";
import { costOf, type Price } from "./budget.ts";
import { ProviderFault, UnfitAnswer } from "./providers/index.ts";
import type { Answer, Asked, Question, Wire } from "./question.ts";
import type { Reservation } from "./usage.ts";

/** An answer and what it cost. */
export interface Paid extends Answer {
  readonly provider: string;
  readonly costUsd: number;
}

/** A part of an answer: text as it comes, and at the end the whole with its price. */
export type PaidPiece = { readonly text: string } | { readonly paid: Paid };

export interface Request {
  readonly question: Question;
  readonly asked: Asked;
  readonly streaming: boolean;
  readonly provider: string;
  /** The model that is asked; the one that answers may call itself otherwise. */
  readonly model: string;
  readonly price: Price;
  readonly key: string | undefined;
  readonly maxTokens: number;
  /** At most. */
  readonly inputTokens: number;
}

/** The longest answer that is passed on: it must fit into a message of ours. */
const textLengthMax = 1024 * 1024;

/** One request to a provider. Whatever becomes of it, answered, cut, refused or cancelled, its reservation is ended. */
export async function* attempt(
  request: Request,
  wire: Wire,
  reservation: Reservation,
  signal: AbortSignal,
): AsyncGenerator<PaidPiece> {
  const { question, provider, price, key, maxTokens } = request;
  let text = "";
  let settled = false;
  const checked = (whole: string) => {
    if (whole.length > textLengthMax)
      throw new ProviderFault("large", `its answer is longer than ${textLengthMax} characters`);
    return whole;
  };
  try {
    const speak = request.streaming ? wire.stream : wire.ask;
    for await (const piece of speak(question, maxTokens, key, signal)) {
      if ("text" in piece) {
        text = checked(text + piece.text);
        yield piece;
        continue;
      }
      checked(piece.answer.text + JSON.stringify(piece.answer.toolCalls));
      settled = true;
      const { model, inputTokens, outputTokens } = piece.answer;
      const costUsd = costOf(price, inputTokens, outputTokens);
      reservation.settle({ model, inputTokens, outputTokens, costUsd, outcome: "answered" });
      yield { paid: { ...checkFit(piece.answer, question), provider, costUsd } };
      return;
    }
    throw new ProviderFault("cut", "its answer broke off");
  } catch (error) {
    // A request that was refused costs nothing.
    if (!settled && error instanceof ProviderFault && !error.costly && text === "") {
      settled = true;
      reservation.release();
    }
    const tokens = !settled && error instanceof ProviderFault ? error.tokens : undefined;
    if (tokens !== undefined) {
      settled = true;
      const costUsd = costOf(price, tokens.inputTokens, tokens.outputTokens);
      reservation.settle({ model: request.model, ...tokens, costUsd, outcome: "cut" });
    }
    throw error;
  } finally {
    if (!settled) reservation.stand();
  }
}

/** An answer to a question with a schema: its JSON alone, checked. One that is no whole answer is left as it is. */
function checkFit(answer: Answer, { check }: Question): Answer {
  if (check === undefined || answer.finish !== "stop") return answer;
  const text = saidJson(answer.text);
  const wrong = check(text);
  if (wrong !== undefined) throw new UnfitAnswer(answer.text, wrong);
  return { ...answer, text };
}
