import pytest

from reconvene.agents.question import last_name, understand


@pytest.mark.parametrize(
    ("text", "kind", "words", "names"),
    [
        ("Where are pending sessions swept?", "where", ("pending", "sessions", "sweep"), ()),
        ("How does the Hub publish?", "how", ("Hub", "publish"), ()),
        ("What is a `Fence`?", "what", ("Fence",), ("Fence",)),
        ("sweeper", "what", ("sweeper",), ()),
        ("parse_frame", "what", ("parse_frame",), ("parse_frame",)),
        ("Who calls parse_path?", "uses", ("parse_path",), ("parse_path",)),
        ("Where is Hub.publish() used?", "uses", ("Hub", "publish"), ("Hub.publish",)),
        ("usages of `start`", "uses", ("start",), ("start",)),
        ("Where are unknown tool calls handled?", "where", ("unknown", "tool", "calls"), ()),
        ("where are files listed?", "where", ("listed",), ()),
        ("list the functions", "what", ("list", "functions"), ()),
        ("Make a plan to add OAuth login", "plan", ("add", "OAuth", "login"), ("OAuth",)),
        ("plan the migration to postgres", "plan", ("migration", "postgres"), ()),
        ("where is the plan shown?", "where", ("plan",), ()),
        ("hi", "greeting", (), ()),
        ("Hello there!", "greeting", (), ()),
        ("what can you do?", "greeting", (), ()),
        ("fix it", "vague", ("fix",), ()),
        ("there is a bug", "vague", ("bug",), ()),
        ("explain this code base", "overview", ("code", "base"), ()),
        ("What does this project do?", "overview", ("project",), ()),
        ("give me an overview", "overview", ("overview",), ()),
        ("Wo ist die Größe?", "what", ("Wo", "ist", "die", "Größe"), ()),
        ("", "vague", (), ()),
        ("???", "vague", (), ()),
    ],
)
def test_what_a_prompt_asks(text: str, kind: str, words: tuple[str, ...], names: tuple[str, ...]) -> None:
    question = understand(text)
    assert (question.kind, question.words, question.names) == (kind, words, names)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("Show me the hub.py file", (("hub.py", None, None),)),
        ("explain src/x/hub.py:10-30 please", (("src/x/hub.py", 10, 30),)),
        ("what is at Makefile.am and docs/how/log", (("docs/how/log", None, None),)),
        ("e.g. and/or v1.2 Hub.publish os.path", ()),
    ],
)
def test_files_that_are_named(text: str, paths: tuple[object, ...]) -> None:
    assert understand(text).paths == paths


def test_queries_are_the_whole_then_names_and_phrases() -> None:
    assert understand('Why is "too large" raised by check_size?').queries() == [
        "large raised check_size",
        '"too large"',
        "check_size",
    ]
    assert understand("Where is the link created?").queries() == ["link created", "link make new mint"]
    assert len(understand("`aa` `bb` `cc` `dd` `ee` `ff`").queries()) == 4


def test_a_question_that_points_back_takes_the_topic_with_it() -> None:
    before = ["Where are pending sessions swept?", "thanks"]
    question = understand("and where is it called?", before)
    assert (question.kind, question.topic) == ("uses", ("pending", "sessions", "sweep"))
    assert understand("why?", before).queries() == ["pending sessions sweep", "pending sessions clean prune expire"]
    assert understand("How does the feed wake its readers?", before).topic == ()
    assert understand("hi", before).kind == "greeting"


def test_last_name() -> None:
    assert [last_name(n) for n in ("Hub.publish()", "a::b::c", "plain")] == ["publish", "c", "plain"]
