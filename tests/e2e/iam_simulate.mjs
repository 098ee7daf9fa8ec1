// IAM's decisions by an evaluator that is not ours, for tests/support/iam_policies.py.
//
// Reads one JSON list on standard input, of {identity, resource, questions}: policy documents of
// whoever asks, the policy of what is asked for (or null), and questions {principal, action,
// resource, context}. Writes a list of lists of {allowed, problem}; a problem is a question that
// makes no sense: an action that AWS does not have, a resource that is none of the action's.
import { readFileSync } from "node:fs";
import { runSimulation, runUnsafeSimulation } from "@cloud-copilot/iam-simulate";

// Bedrock User Guide, "Global cross-Region inference": a foundation model's ARN without a Region. The
// Service Authorization Reference, by which resources are checked, has none of those.
const NOWHERE = /^arn:aws:bedrock:::foundation-model\//;

async function decide({ identity, resource }, question) {
  const simulation = {
    request: {
      principal: question.principal,
      action: question.action,
      resource: { resource: question.resource, accountId: question.account },
      contextVariables: question.context,
    },
    identityPolicies: identity.map((policy, at) => ({ name: `${at}`, policy })),
    resourcePolicy: resource ?? undefined,
    serviceControlPolicies: [],
    resourceControlPolicies: [],
  };
  if (NOWHERE.test(question.resource)) {
    return { allowed: runUnsafeSimulation(simulation, {}) === "Allowed", problem: null };
  }
  const answer = await runSimulation(simulation, {});
  return {
    allowed: answer.overallResult === "Allowed",
    problem: answer.errors ? JSON.stringify(answer.errors) : null,
  };
}

const cases = JSON.parse(readFileSync(0, "utf8"));
const answers = [];
for (const one of cases) {
  const decisions = [];
  for (const question of one.questions) decisions.push(await decide(one, question));
  answers.push(decisions);
}
process.stdout.write(JSON.stringify(answers));
