"""The graph that LangGraph's server is given: one model, one shell tool, and leave asked of a person before it. Runs in its environment."""

import os
import subprocess
from typing import Annotated, TypedDict

from langchain_core.messages import AnyMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


@tool
def shell(command: str) -> str:
    """Run a command."""
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout


model = ChatOpenAI(model="scripted", base_url=os.environ["BENCH_PROVIDER"], api_key="none", streaming=True).bind_tools(
    [shell]
)


async def ask(state: State) -> dict:
    return {"messages": [await model.ainvoke(state["messages"])]}


def leave(state: State) -> dict:
    """What a person says is in the checkpoint before the command begins."""
    interrupt({"leave": [call["args"] for call in state["messages"][-1].tool_calls]})
    return {}


def run(state: State) -> dict:
    calls = state["messages"][-1].tool_calls
    return {"messages": [ToolMessage(shell.invoke(call["args"]), tool_call_id=call["id"]) for call in calls]}


builder = StateGraph(State)
builder.add_node("ask", ask)
builder.add_node("leave", leave)
builder.add_node("run", run)
builder.add_edge(START, "ask")
builder.add_conditional_edges("ask", lambda state: "leave" if state["messages"][-1].tool_calls else "__end__")
builder.add_edge("leave", "run")
builder.add_edge("run", "ask")
graph = builder.compile()
