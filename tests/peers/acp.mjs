// The official TypeScript ACP client: an editor that asks once and answers every permission with its first option, and a second one that
// loads the session, resumes it and forks it. Prints what happens as JSON lines.
import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import { client, methods, ndJsonStream } from "@agentclientprotocol/sdk";

const [cwd, question, command, ...args] = process.argv.slice(2);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

async function editor(work) {
  const agent = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  say({ bridge: agent.pid });
  const stream = ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));
  await client({ name: "peer" })
    .onNotification(methods.client.session.update, ({ params }) => say(params.update))
    .onRequest(methods.client.session.requestPermission, ({ params }) => {
      say({ asked: params.toolCall.title });
      return { outcome: { outcome: "selected", optionId: params.options[0].optionId } };
    })
    .connectWith(stream, async (peer) => {
      const hello = await peer.request(methods.agent.initialize, { protocolVersion: 1, clientCapabilities: {} });
      await work(peer, hello.agentCapabilities);
    });
  agent.stdin.end();
}

let sessionId;
await editor(async (peer, can) => {
  ({ sessionId } = await peer.request(methods.agent.session.new, { cwd, mcpServers: [] }));
  const prompt = [{ type: "text", text: question }];
  const done = await peer.request(methods.agent.session.prompt, { sessionId, prompt });
  say({ done, loadSession: can.loadSession, sessionId });
});
await editor(async (peer) => {
  await peer.request(methods.agent.session.load, { sessionId, cwd, mcpServers: [] });
  say({ loaded: sessionId });
  const resumed = await peer.request(methods.agent.session.resume, { sessionId, cwd, mcpServers: [] });
  // Not stable yet, so not among the methods of the library.
  const forked = await peer.request("session/fork", { sessionId, cwd, mcpServers: [] });
  await peer.request(methods.agent.session.close, { sessionId: forked.sessionId });
  await peer.request(methods.agent.session.delete, { sessionId: forked.sessionId });
  const { sessions } = await peer.request(methods.agent.session.list, { cwd });
  say({ resumed, forked: forked.sessionId, listed: sessions.map((session) => session.sessionId) });
});
