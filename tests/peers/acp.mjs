// The official TypeScript ACP client: starts an agent, asks once, answers every permission with its first option. Prints what happens as
// JSON lines.
import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import { client, methods, ndJsonStream } from "@agentclientprotocol/sdk";

const [cwd, question, command, ...args] = process.argv.slice(2);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const agent = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
const stream = ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));

await client({ name: "peer" })
  .onNotification(methods.client.session.update, ({ params }) => say(params.update))
  .onRequest(methods.client.session.requestPermission, ({ params }) => {
    say({ asked: params.toolCall.title });
    return { outcome: { outcome: "selected", optionId: params.options[0].optionId } };
  })
  .connectWith(stream, async (peer) => {
    const hello = await peer.request(methods.agent.initialize, { protocolVersion: 1, clientCapabilities: {} });
    const { sessionId } = await peer.request(methods.agent.session.new, { cwd, mcpServers: [] });
    const prompt = [{ type: "text", text: question }];
    const done = await peer.request(methods.agent.session.prompt, { sessionId, prompt });
    say({ done, loadSession: hello.agentCapabilities.loadSession, sessionId });
  });
agent.stdin.end();
