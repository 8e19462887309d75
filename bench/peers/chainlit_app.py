"""The app that Chainlit is given: one model, one shell tool, and leave asked of a person before it. Runs in its environment."""

import asyncio
import json
import os

import chainlit as cl
from openai import AsyncOpenAI

client = AsyncOpenAI(base_url=os.environ["BENCH_PROVIDER"], api_key="none")
COMMAND = {"type": "object", "properties": {"command": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "shell", "description": "Run a command", "parameters": COMMAND}}]


@cl.on_message
async def answer(message: cl.Message) -> None:
    history = cl.user_session.get("history") or []
    cl.user_session.set("history", history)
    history.append({"role": "user", "content": message.content})
    while True:
        said = cl.Message(content="")
        calls: dict = {}
        stream = await client.chat.completions.create(model="scripted", messages=history, tools=TOOLS, stream=True)
        async for chunk in stream:
            delta = chunk.choices[0].delta if chunk.choices else None
            if delta and delta.content:
                await said.stream_token(delta.content)
            for call in (delta and delta.tool_calls) or ():
                calls = {"id": call.id, "type": "function", "function": call.function.model_dump()}
        if not calls:
            await said.update()
            history.append({"role": "assistant", "content": said.content})
            return
        history.append({"role": "assistant", "tool_calls": [calls]})
        actions = [cl.Action(name="yes", payload={"value": "yes"}, label="yes")]
        leave = await cl.AskActionMessage(content="Run it?", actions=actions, timeout=300).send()
        output = b"not run"
        if leave:
            process = await asyncio.create_subprocess_exec(
                "sh", "-c", json.loads(calls["function"]["arguments"])["command"], stdout=asyncio.subprocess.PIPE
            )
            output, _ = await process.communicate()
        history.append({"role": "tool", "tool_call_id": calls["id"], "content": output.decode()})
