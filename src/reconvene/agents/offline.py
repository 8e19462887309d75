from pydantic_ai.models.function import FunctionModel


def offline_model() -> FunctionModel:
    async def f(m, i):
        yield "x"

    return FunctionModel(stream_function=f, model_name="offline")
