// The official AG-UI client as a front end in which a person answers: each run that ends with interrupts is said, and an answer is read
// from stdin, a line for each: {interruptId, status, payload}. Whoever asks has the time to kill the server in between.
import { createInterface } from "node:readline";
import { HttpAgent } from "@ag-ui/client";

const [token, threadId, question] = process.argv.slice(2);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const read = async () => JSON.parse((await lines.next()).value);

const { url } = await read();
let agent = front(url);
agent.messages = [{ id: "u1", role: "user", content: question }];
let resume;
for (let n = 1; ; n++) {
  let outcome;
  const result = await agent.runAgent(
    { runId: `run-${n}`, ...(resume ? { resume } : {}) },
    {
      onRunFinishedEvent: ({ event }) => {
        outcome = event.outcome;
      },
    },
  );
  const activities = agent.messages.filter((m) => m.role === "activity").map((m) => [m.activityType, m.content]);
  say({ outcome, activities, messages: result.newMessages });
  if (outcome?.type !== "interrupt") break;
  const next = await read();
  // The server came back elsewhere: the same thread goes on with another agent, which has what this one was shown.
  const before = agent;
  agent = front(next.url);
  agent.messages = before.messages;
  resume = next.resume;
}
process.exit(0);

function front(url) {
  return new HttpAgent({ url, threadId, headers: { Authorization: `Bearer ${token}` } });
}
