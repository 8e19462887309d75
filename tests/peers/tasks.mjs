// MCP's Tasks with the official TypeScript packages: a question becomes a task, which is followed to its end; then another process, which
// has only what the first one kept of it, asks for the result. Prints what happens as JSON lines.
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { createTaskSessionFromClient, resultFromTaskOutcome } from "@modelcontextprotocol/ext-tasks/client";

const VERSION = "2026-07-28";
const [question, command, ...args] = process.argv.slice(2);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const clientInfo = { name: "peer", version: "1" };
const capabilities = { elicitation: { form: {} }, extensions: { "io.modelcontextprotocol/tasks": {} } };

// The client's own codec does not know a task in place of a result, so its package wants a way around it: our ids on its transport.
function around(transport) {
  const waiting = new Map();
  const theirs = transport.onmessage;
  transport.onmessage = (message, extra) => {
    const settle = waiting.get(message.id);
    if (!settle) return theirs(message, extra);
    waiting.delete(message.id);
    settle("error" in message ? { kind: "error", error: message.error } : { kind: "result", result: message.result });
  };
  let last = 0;
  return (request) =>
    new Promise((resolve, reject) => {
      const id = `task-${++last}`;
      waiting.set(id, resolve);
      transport.send({ jsonrpc: "2.0", id, ...request }).catch(reject);
    });
}

async function connected(work) {
  const client = new Client(clientInfo, { capabilities, versionNegotiation: { mode: { pin: VERSION } } });
  const transport = new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" });
  await client.connect(transport);
  const session = createTaskSessionFromClient(client, {
    endpointId: "reconvene",
    rawDispatch: around(transport),
    v2RequestFraming: { protocolVersion: VERSION, clientInfo, clientCapabilities: capabilities },
  });
  await work(session);
  await session.close();
  await client.close();
}

let kept;
await connected(async (session) => {
  const execution = await session.callTool("ask", { question, wait: 0 });
  say({ kind: execution.kind, task: execution.handle?.taskId });
  kept = JSON.stringify(execution.serializeReference());
  const { outcome } = await execution.settle({ onEvent: ({ task }) => task && say({ status: task.status }) });
  say({ result: resultFromTaskOutcome(outcome).structuredContent });
});
await connected(async (session) => {
  const execution = await session.resumeTask(JSON.parse(kept));
  say({ again: resultFromTaskOutcome((await execution.settle()).outcome).structuredContent });
});
