import { ApiGatewayService } from "#proto/aios/api_gateway";
import { type Command, exit } from "../command.ts";

const dollars = (usd: number) => `$${usd.toFixed(2)}`;

export const providers: Command = {
  name: "providers",
  summary: "the model providers outside the machine: their order, keys, budgets and state",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl providers", "aiosctl providers --json | jq -r '.providers[] | [.name, .usedUsd] | @tsv'"],
  async run({ target, out }) {
    const budget = await target().client(ApiGatewayService, "gateway").getBudget({});
    const rows = budget.providers.map((one) => [
      ...[one.name, one.model, one.hasKey ? "yes" : "no"],
      ...[
        `${dollars(one.usedUsd)} of ${dollars(one.monthlyBudgetUsd)}`,
        `${one.requestsLastMinute}/${one.rateLimitRpm}`,
      ],
      one.state,
    ]);
    out.table(["name", "model", "key", "this month", "a minute", "state"], rows);
    out.document(budget);
    return exit.ok;
  },
};
