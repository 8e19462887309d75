"""What the first run would do for all later ones, done before there is one: half a second of imports, schemas and validators.

In a thread, while the server serves already. The event loop, which has every session's events to deliver, then never does it.
"""

from __future__ import annotations

import asyncio
import contextlib

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessagesTypeAdapter

from reconvene.agents import models, tools
from reconvene.agents.bounds import Bounds
from reconvene.agents.coder import coder, reviewer
from reconvene.agents.compaction import Compaction
from reconvene.agents.durable import AgentDeps
from reconvene.agents.offline import offline_model
from reconvene.agents.orchestrator import build
from reconvene.agents.providers import Providers
from reconvene.agents.streaming import Streaming
from reconvene.agents.token_ratio import Fitting
from reconvene.agents.toolsets import as_tools
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.search.context import SearchContext


def rehearse(providers: Providers) -> None:
    """Make every agent once, load the package of the model that is set, and have the offline one greet. Blocking, a second long; not to
    be called in an event loop's thread. Nothing is sent or written anywhere.
    """
    with contextlib.suppress(ReconveneError):  # a run says what is wrong with the model, where people see it
        models.resolve(providers.model, providers)
    model = offline_model(0)
    for _ in (build(model, commands=True), coder(model), reviewer(model)):
        pass
    # As a run's, without what those are told: there is no code base here.
    agent = Agent(
        Streaming(model),
        deps_type=AgentDeps,
        tools=as_tools(*tools.LOOKING_AND_ASKING),
        capabilities=[Compaction(), Fitting(), Bounds()],
    )
    deps = AgentDeps(durable=None, workspace=None, index=None, context=SearchContext.fold(()), limits=Limits())  # type: ignore[arg-type]
    done = asyncio.run(agent.run("Hello", deps=deps))
    ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(done.all_messages()))
