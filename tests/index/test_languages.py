"""Each language: what its pattern finds in a sample, and what it must not take for a definition."""

from __future__ import annotations

import time

import pytest

from reconvene.index.analysis import analyse
from reconvene.index.definitions import find, qualified
from reconvene.index.languages.registry import LANGUAGES, language_named, language_of

SAMPLES: dict[str, tuple[str, list[str]]] = {
    "a.py": (
        """import os
MAX_SIZE = 3
T = TypeVar("T")
lower = 1

class Session(Base, metaclass=Meta):
    limit: int = 3

    async def close(self) -> None:
        def inner():
            pass

    if os.name == "nt":
        def windows_only(self): ...

def main(argv: list[str] = []) -> int:
    return defined(class_)
""",
        [
            "constant MAX_SIZE", "class Session", "method Session.close", "function Session.close.inner",
            "method Session.windows_only", "function main",
        ],
    ),
    "a.js": (
        """export default class Router extends Base {
  #secret() {
    if (x) { return }
  }
  static async get(path, cb = () => {}) {
    while (true) { go() }
  }
  on(event) {}
}
function plain(a, b) {}
export const handler = async (req) => {
  switch (req) { }
}
const LIMIT = 10;
module.exports.parse = function (x) {}
Router.prototype.use = function use(fn) {
""",
        [
            "class Router", "method Router.secret", "method Router.get",
            "method Router.on", "function plain", "function handler",
            "constant LIMIT", "function parse", "function use",
        ],
    ),
    "a.ts": (
        """export interface Options<T> extends Base {
  name: string;
  close(force?: boolean): Promise<void>;
}
export type Id = string | number;
declare enum Color { Red }
export abstract class Store<T> implements Options<T> {
  private readonly map = new Map();
  constructor(private x: number) {
    super();
  }
  public async load(key: string): Promise<T | undefined> {
    return await this.get(key);
  }
}
namespace Util {
  export function helper<T>(x: T): T { return x }
}
""",
        [
            "interface Options", "method Options.close", "type Id",
            "enum Color", "class Store", "method Store.constructor",
            "method Store.load", "module Util", "method Util.helper",
        ],
    ),
    "a.go": (
        """package main

const MaxSize = 3
var (
	Default = New()
)
type Server struct {
	addr string
}
type (
	Handler interface {
		Serve()
	}
)
func New[T any](x T) *Server {
	for { }
}
func (s *Server) Close(ctx context.Context) error { return nil }
""",
        ["constant MaxSize", "constant Default", "type Server", "type Handler", "function New", "method Close"],
    ),
    "a.rs": (
        """pub const LIMIT: usize = 3;
#[derive(Debug)]
pub struct Parser<'a> { input: &'a str }
pub(crate) enum Token { A }
pub trait Visit { fn visit(&self); }
impl<'a> Visit for Parser<'a> {
    fn visit(&self) { if x { } }
    pub async fn next(&mut self) -> Option<Token> { None }
}
type Result<T> = std::result::Result<T, Error>;
macro_rules! ensure { () => {} }
mod tests { }
unsafe extern "C" fn callback() {}
""",
        [
            "constant LIMIT", "struct Parser", "enum Token", "interface Visit",
            "impl Parser", "method Parser.visit", "method Parser.next",
            "type Result", "macro ensure", "module tests", "function callback",
        ],
    ),
    "A.java": (
        """package a;
public final class Cache<K, V> extends Base {
    private static final int MAX_SIZE = 10;
    public Cache(int size) {
        if (size > 0) { }
    }
    @Override
    protected <T> List<T> load(Map<String, List<T>> keys, int n)
            throws IOException, Error {
        return new ArrayList<>() { };
    }
    abstract void close();
    interface Listener { void onEvent(String name); }
    enum Mode { A, B }
    record Point(int x, int y) {}
}
""",
        [
            "class Cache", "constant Cache.MAX_SIZE", "method Cache.Cache",
            "method Cache.load", "method Cache.close", "interface Cache.Listener",
            "enum Cache.Mode", "class Cache.Point",
        ],
    ),
    "a.kt": (
        """const val LIMIT = 3
data class User(val name: String)
sealed interface Event
object Registry {
    fun <T> find(key: String): T? = null
    private suspend fun List<Int>.total(): Int = sum()
}
enum class Mode { A }
typealias Handler = (Event) -> Unit
""",
        [
            "constant LIMIT", "class User", "interface Event", "class Registry", "method Registry.find",
            "method Registry.total", "enum Mode", "type Handler",
        ],
    ),
    "a.c": (
        """#include <stdio.h>
#define MAX_SIZE 10
#define min(a, b) ((a) < (b) ? (a) : (b))
struct node {
	int x;
};
typedef struct {
	int y;
} point_t;
enum color { RED };
typedef unsigned long word_t;
static int declared(int x);
static inline struct node *
make_node(int x, int (*cb)(int))
{
	if (x) { return NULL; }
	for (;;) { }
}
int main(void) {
	return call(1);
}
""",
        [
            "macro MAX_SIZE", "macro min", "struct node", "type point_t", "enum color", "type word_t",
            "function make_node", "function main",
        ],
    ),
    "a.cpp": (
        """namespace shop {
template <typename T>
class Cache final : public Base<T> {
 public:
  explicit Cache(size_t n) : size_(n) {}
  ~Cache() { clear(); }
  void put(const std::string& key, T value) override {
    if (x) { }
    std::for_each(a, b, [](int x) { return x; });
  }
};
struct Point { int x; };
enum class Mode : int { A };
using Id = int;
}
std::vector<int> shop::Cache::all(int n) const {
  return {};
}
int main(int argc, char** argv) {
  while (true) { }
}
""",
        [
            "module shop", "class Cache", "method Cache.Cache", "method Cache.~Cache",
            "method Cache.put", "struct Point", "enum Mode",
            "type Id", "method all", "function main",
        ],
    ),
    "a.cs": (
        """namespace Shop.Core {
    public sealed class Cart<T> : IDisposable where T : Item {
        public const int Max = 3;
        public int Count { get; private set; }
        public Cart(int size) : base(size) { }
        public async Task<List<T>> LoadAsync(string key, int n = 0)
        {
            if (n > 0) { return null; }
            foreach (var x in y) { }
        }
        int Total() => 3;
    }
    internal interface IStore { void Save(string key); }
    public record Point(int X);
    enum Mode { A }
}
""",
        [
            "module Shop.Core", "class Shop.Core.Cart", "constant Shop.Core.Cart.Max",
            "constant Shop.Core.Cart.Count", "method Shop.Core.Cart.Cart",
            "method Shop.Core.Cart.LoadAsync", "method Shop.Core.Cart.Total", "interface Shop.Core.IStore",
            "class Shop.Core.Point", "enum Shop.Core.Mode",
        ],
    ),
    "a.rb": (
        """module Shop
  LIMIT = 3
  class Cart < Base::Thing
    attr_reader :items
    def initialize(x)
    end
    def self.load!(key)
    end
    private def empty?
    end
  end
end
""",
        [
            "module Shop", "constant Shop.LIMIT", "class Shop.Cart",
            "method Shop.Cart.items", "method Shop.Cart.initialize",
            "method Shop.Cart.load!", "method Shop.Cart.empty?",
        ],
    ),
    "a.php": (
        """<?php
define('LIMIT', 3);
abstract class Cart extends Base implements A {
    const MAX = 3;
    public static function load(string $key): ?Cart { }
    private function &items() { }
}
interface Store { public function save($x); }
trait Logs { }
function helper() { }
""",
        [
            "constant LIMIT", "class Cart", "constant Cart.MAX",
            "method Cart.load", "method Cart.items", "interface Store",
            "class Logs", "function helper",
        ],
    ),
    "a.swift": (
        """public final class Cart: Base {
    init(size: Int) { }
    private(set) var items: [Item] = []
    @discardableResult
    public func add<T>(_ item: T) -> Bool { return true }
}
struct Point { }
enum Mode { case a }
protocol Store { func save() }
extension Cart { static func empty() -> Cart { } }
typealias Id = Int
let limit = 3
""",
        [
            "class Cart", "method Cart.init", "method Cart.add", "struct Point",
            "enum Mode", "interface Store", "impl Cart",
            "type Id", "constant limit",
        ],
    ),
    "a.scala": (
        """package shop
sealed trait Event
case class Added(item: String) extends Event
object Cart {
  val Limit = 3
  private def load[T](key: String): T = ???
  type Id = Int
}
""",
        ["interface Event", "class Added", "class Cart", "constant Cart.Limit", "method Cart.load", "type Cart.Id"],
    ),
    "a.lua": (
        """local M = {}
MAX_SIZE = 3
function M.load(key)
end
local function helper(x) end
M.save = function(x) end
function M:close() end
""",
        ["constant MAX_SIZE", "function load", "function helper", "function save", "function close"],
    ),
    "a.sh": (
        """#!/bin/bash
readonly LIMIT=3
function build {
  echo "function not"
}
clean_up() {
  if true; then return; fi
}
""",
        ["constant LIMIT", "function build", "function clean_up"],
    ),
    "a.md": (
        """# Title

## Install ##

```sh
# not a heading
```

### Details

text # no
""",
        ["heading Title", "heading Install", "heading Details"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_definitions_of(name: str) -> None:
    text, expected = SAMPLES[name]
    found = find(text.encode(), language_of(name))
    assert [f"{d.kind} {qualified(found, i)}" for i, d in enumerate(found)] == expected
    lines = text.split("\n")
    for d in found:
        assert d.name.rpartition(".")[2] in lines[d.line - 1]
        assert lines[d.line - 1].strip().startswith(d.signature[:20])


def test_every_language_with_rules_compiles_to_a_linear_time_pattern() -> None:
    assert {x.name for x in LANGUAGES.values() if x.rules} >= {
        "python", "javascript", "typescript", "go", "rust", "java", "kotlin",
        "c", "cpp", "csharp", "ruby", "php", "swift", "scala",
        "lua", "bash", "markdown",
    }  # fmt: skip
    for language in LANGUAGES.values():
        if language.rules:
            assert language.regex.groups == len(language.kinds), language.name


@pytest.mark.parametrize("language", [x for x in LANGUAGES.values() if x.rules], ids=lambda x: x.name)
@pytest.mark.parametrize(
    "text",
    [
        b"(" * 100_000,
        b"-" * 1_000_000,
        b"\0" * 100_000,
        b"a " * 200_000,
        b"<" * 100_000,
        b" \t" * 100_000,
        b"public static " * 30_000,
        b"x(" * 50_000,
    ],
    ids=[
        "bad95-parens",
        "bad95-dashes",
        "bad95-nuls",
        "bad95-words",
        "bad95-angles",
        "bad95-blanks",
        "bad95-modifiers",
        "bad95-calls",
    ],
)
def test_hostile_source_costs_linear_time(language: object, text: bytes) -> None:
    began = time.process_time()
    find(text, language)  # type: ignore[arg-type]
    assert time.process_time() - began < 2.5


def test_a_header_may_be_of_another_language() -> None:
    header = language_of("a.h")
    plain = "/* a class of its own\n class x */\nstruct node {\n\tint class_of;\n};\nstatic int one(void) { }\n"
    assert [d.kind for d in find(plain.encode(), header)] == ["struct", "function"]
    text = "#pragma once\nnamespace shop {\nclass Cart\n    : public Base {\n  void add(int x) { }\n};\n}\n"
    found = find(text.encode(), header)
    assert [qualified(found, i) for i in range(len(found))] == ["shop", "Cart", "Cart.add"]


def test_data_has_an_outline_of_bounded_size() -> None:
    lock = "{\n" + "".join(f'  "package-{i}": {{\n    "version": "1"\n  }},\n' for i in range(5000)) + '  "z": 1\n}\n'
    found = find(lock.encode(), language_of("package-lock.json"))
    assert len(found) == 200 and {d.kind for d in found} == {"key"}
    kept = analyse(lock.encode(), language_of("package-lock.json"))
    assert kept.symbols == 0, "keys are no names of the code base"


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a.json", '{\n  "a": 1,\n  "b": {\n    "c": {\n      "d": 1\n    }\n  }\n}\n', ["a", "b", "b.c"]),
        ("a.json", '[\n  {"a": 1},\n  {\n    "a": 1\n  }\n]\n', []),
        ("a.yaml", "on: x\njobs:\n    build:\n        steps:\n            - uses: a\n", ["on", "jobs", "jobs.build"]),
        ("a.toml", "[a.b]\nc = [\n  1,\n]\n[[d]]\n['e f'.g] # h\n", ["a.b", "d", "'e f'.g"]),
        ("a.html", '<!-- <p id="no"> -->\n<h2>One</h2>\n<p class="x" id=two>\n{% block three %}\n', ["One", "two", "three"]),
        ("a.css", "/* .no { */\n.a,\n.b {\n  c: d;\n}\n@mixin e-f($x) {\n}\n@keyframes g {\n}\n", [".b", "e-f", "g"]),
        ("a.sql", "CREATE OR REPLACE VIEW a.b AS\ncreate temp table if not exists `c` (\nCREATE FUNCTION d(\n", ["b", "c", "d"]),
        ("a.tf", 'locals {\n  no {\n  }\n}\nresource "a" "b" {\n}\n', ["locals", "b"]),
        ("Dockerfile", "FROM a AS b\nRUN from c\nfrom --platform=x d:e\n", ["b", "d:e"]),
        ("a.md", "One\n===\n\n# Two #\n```\n# no\n```\n", ["One", "Two"]),
    ],
)  # fmt: skip
def test_outlines_by_the_linear_tier(path: str, text: str, expected: list[str]) -> None:
    found = find(text.encode(), language_of(path))
    assert [qualified(found, i) for i in range(len(found))] == expected


def test_words_for_languages() -> None:
    assert [language_named(w) for w in ("py", "TSX", "c++", ".go", "shell", "rust", "klingon")] == [
        "python", "typescript", "cpp", "go", "bash", "rust", None,
    ]  # fmt: skip
    assert [language_of(p).name for p in ("a/Dockerfile.dev", "x.R", "Makefile", "no_suffix", "a.unknown", ".bashrc")] == [
        "dockerfile", "r", "make", "other", "other", "bash",
    ]  # fmt: skip
