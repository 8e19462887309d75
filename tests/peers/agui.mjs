// The official AG-UI client. Its `fetch` goes on with Last-Event-ID when the connection breaks, which the client itself does not notice.
import { HttpAgent } from "@ag-ui/client";

const [url, token, threadId, question] = process.argv.slice(2);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function* lasting(url, init) {
  let last = null;
  for (let tries = 0; tries < 200; tries++) {
    try {
      const headers = { ...init.headers, ...(last ? { "Last-Event-ID": last } : {}) };
      const response = await fetch(url, { ...init, headers, signal: undefined });
      if (response.status !== 200) throw new Error(`status ${response.status}`);
      let rest = "";
      let held = "";
      const decoder = new TextDecoder();
      for await (const bytes of response.body) {
        rest += decoder.decode(bytes, { stream: true });
        const parts = rest.split("\n\n");
        rest = parts.pop();
        for (const part of parts) {
          // Only up to an id is known to have come; what is after the last one comes again.
          held += part + "\n\n";
          const id = /^id: (.+)$/m.exec(part);
          if (id || last === null) {
            if (id) last = id[1];
            yield held;
            held = "";
          }
          if (/"type":"RUN_(FINISHED|ERROR)"/.test(part)) {
            if (held) yield held;
            return;
          }
        }
      }
    } catch (error) {
      say({ broke: String(error) });
    }
    await pause(100);
  }
  throw new Error("the server did not come back");
}

const agent = new HttpAgent({
  url,
  threadId,
  headers: { Authorization: `Bearer ${token}` },
  fetch: async (url, init) =>
    new Response(ReadableStream.from(lasting(url, init)).pipeThrough(new TextEncoderStream()), {
      headers: { "content-type": "text/event-stream" },
    }),
});
agent.messages = [{ id: "u1", role: "user", content: question }];
const result = await agent.runAgent({ runId: "run-1" }, { onEvent: ({ event }) => say(event) });
say({ done: result.newMessages, messages: agent.messages });
