// The official TypeScript ACP client: starts an agent, asks once, answers every permission with its first option. Prints what happens as
// JSON lines.
import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import * as acp from "@agentclientprotocol/sdk";

const [cwd, question, command, ...args] = process.argv.slice(2);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const agent = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
const stream = acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));
const connection = new acp.ClientSideConnection(
  () => ({
    sessionUpdate: async ({ update }) => say(update),
    requestPermission: async ({ toolCall, options }) => {
      say({ asked: toolCall.title });
      return { outcome: { outcome: "selected", optionId: options[0].optionId } };
    },
  }),
  stream,
);
const hello = await connection.initialize({ protocolVersion: acp.PROTOCOL_VERSION, clientCapabilities: {} });
const session = await connection.newSession({ cwd, mcpServers: [] });
const prompt = [{ type: "text", text: question }];
const done = await connection.prompt({ sessionId: session.sessionId, prompt });
say({ done, loadSession: hello.agentCapabilities.loadSession, sessionId: session.sessionId });
agent.stdin.end();
