"""Source that is formatted as nobody expects: for each language what its grammar must find there, and where.

Each sample: text, then `kind name first-line-last` lines. What stands in comments, strings and templates must not be found.
"""

SAMPLES: dict[str, tuple[str, str]] = {
    "a.py": (
        '''"""
class Hidden:
    def hidden(self): ...
"""
LIMIT = 3

# What it is.
@first
@second(
    "x",
)
class Store(
    Base,
):
    """def hidden(): ..."""

    # Why.
    async def close(self, *,
                    force=False) -> None:
        def inner(): return """
def hidden():
    pass
"""
        return inner
    if True:
        def odd(self): pass

def last(): pass
''',
        """constant LIMIT 5-5-5
        class Store 7-12-26
        method Store.close 17-18-24
        function Store.close.inner 20-20-23
        method Store.odd 26-26-26
        function last 28-28-28""",
    ),
    "a.js": (
        """/* function hidden() {} */
const text = `
function hidden() {
}`

/**
 * What it is.
 */
@decorated
export default class Router
  extends Base
{
  static #count = 0
  handler = async (x) => {
    return x
  }
  // Gets.
  async *get
    (path) {
    function inner() { return "function hidden() {" }
  }
}
exports.parse = parse
Router.prototype.use = function (fn) {
  return fn
}
const make = ({ a, b }) => ({ a })
const page = { render: function () {} }
""",
        """constant text 1-2-4
        class Router 6-10-22
        method Router.handler 14-14-16
        method Router.get 17-18-21
        function Router.get.inner 20-20-20
        function parse 23-23-23
        method Router.use 24-24-26
        function make 27-27-27
        constant page 28-28-28
        method page.render 28-28-28""",
    ),
    "a.ts": (
        """// interface Hidden {}
export declare namespace Shop {
  interface Cart<T
  > {
    total(this: Cart<T>): number;
  }
}
@Component({
  selector: "class Hidden {}",
})
export abstract class View<T> {
  abstract draw(): void;
  private readonly save = <K,>(k: K) => k;
}
export type Id =
  | string
  | number;
export function over(a: string): void;
export function over(a: unknown) {}
const enum Mode { A }
""",
        """module Shop 1-2-7
        interface Shop.Cart 3-3-6
        method Shop.Cart.total 5-5-5
        class View 8-11-14
        method View.draw 12-12-12
        method View.save 13-13-13
        type Id 15-15-17
        function over 18-18-18
        function over 19-19-19
        enum Mode 20-20-20""",
    ),
    "a.tsx": (
        """export const Page = ({ a }: Props) => (
  <Layout title="function hidden() {">
    function hidden() {'{'}
    {a.map((x) => <li>{x}</li>)}
  </Layout>
);
function useIt<T,>(x: T) { return <T2>{x}</T2>; }
""",
        """function Page 1-1-6
        function useIt 7-7-7""",
    ),
    "a.vue": (
        """<template>
  <p>function hidden() {}</p>
</template>
<script setup lang="ts">
interface Props { a: string }
function shown(a: string): void {
}
</script>
""",
        """interface Props 5-5-5
        function shown 6-6-7""",
    ),
    "a.go": (
        """package a

const raw = `
func hidden() {
}
`

// Server serves.
// For long.
type Server[T any] struct {
	next func()
}
type (
	// Handler handles.
	Handler interface {
		Serve()
	}
)

/* func hidden() {} */
func (s *Server[T]) Close(
	ctx context.Context,
) (
	err error,
) {
	inner := func() {}
	return
}
func New() *Server[int] { return nil }
""",
        """constant raw 3-3-6
        type Server 8-10-12
        type Handler 14-15-17
        method Server.Close 20-21-28
        function New 29-29-29""",
    ),
    "a.rs": (
        """/* fn hidden() {} */
/// Parses.
#[derive(
    Debug,
)]
pub struct Parser<'a> {
    input: &'a str,
}
impl<'a, T> Visit<T> for Parser<'a>
where
    T: Clone,
{
    #[inline]
    fn visit(
        &self,
    ) {
        let x = r#"
fn hidden() {}
"#;
        fn inner() {}
    }
}
macro_rules! make {
    () => {
        pub fn made() {}
    };
}
mod tests {
    #[test]
    fn works() {}
}
""",
        """struct Parser 1-6-8
        impl Parser 9-9-22
        method Parser.visit 13-14-21
        function Parser.visit.inner 20-20-20
        macro make 23-23-27
        function make.made 0-25-0
        module tests 28-28-31
        method tests.works 29-30-30""",
    ),
    "A.java": (
        """/** class Hidden {} */
@Deprecated
public final class Cache<K, V>
    extends Base<K> {
  static final int MAX = 3;
  // Why.
  @Override
  protected <T> List<T>
      load(Map<String, T> keys)
      throws IOException {
    Runnable r = new Runnable() {
      public void run() { String s = "void hidden() {"; }
    };
    return null;
  }
  record Point(int x) { Point { } }
  @interface Mark { String value() default ""; }
  enum Mode { A { void go() {} } }
}
""",
        """class Cache 1-3-19
        constant Cache.MAX 5-5-5
        method Cache.load 6-9-15
        method Cache.load.run 12-12-12
        class Cache.Point 16-16-16
        method Cache.Point.Point 16-16-16
        interface Cache.Mark 17-17-17
        method Cache.Mark.value 17-17-17
        enum Cache.Mode 18-18-18
        method Cache.Mode.go 18-18-18""",
    ),
    "a.kt": (
        '''/* fun hidden() {} */
@Serializable
data class User(
    val name: String,
) {
    // Why.
    suspend fun <T> load(
        key: String,
    ): T? {
        val text = """
fun hidden() {}
"""
        fun inner() = 1
        return null
    }
    companion object Registry {
        const val LIMIT = 3
    }
}
fun interface Handler { fun handle() }
enum class Mode { A }
fun `a name with spaces`() = Unit
typealias Id = Int
''',
        """class User 1-3-19
        method User.load 6-7-15
        function User.load.inner 13-13-13
        class User.Registry 16-16-18
        constant User.Registry.LIMIT 17-17-17
        interface Handler 20-20-20
        method Handler.handle 20-20-20
        enum Mode 21-21-21
        function a name with spaces 22-22-22
        type Id 23-23-23""",
    ),
    "a.c": (
        """/* int hidden(void) { } */
#define MAX(a, b) \\
    ((a) > (b) ? (a) : (b))
struct node
{
    struct { int x; } inner;
};
typedef struct list {
    int y;
} list_t;
// Makes one.
static inline struct node *
make_node(int x,
          int (*cb)(int))
{
    char *s = "int hidden(void) {";
    return 0;
}
int declared(void);
""",
        """macro MAX 1-2-3
        struct node 4-4-7
        struct list 8-8-10
        type list_t 8-10-10
        function make_node 11-13-18""",
    ),
    "a.cpp": (
        """// class Hidden {};
namespace shop::core {
/// Holds.
template <typename T,
          typename U>
class Cache : public Base<T> {
 public:
  explicit Cache(size_t n)
      : size_(n) {
  }
  ~Cache() { auto s = R"(
void hidden() {}
)"; }
  bool operator==(const Cache& o) const { return true; }
};
}
template <>
std::vector<int>& shop::Cache<int, int>::all(int n)
{
  auto f = [](int x) { return x; };
}
using Id = int;
""",
        """module shop::core 1-2-16
        class shop::core.Cache 3-6-15
        method shop::core.Cache.Cache 8-8-10
        method shop::core.Cache.~Cache 11-11-13
        method shop::core.Cache.operator== 14-14-14
        method shop::Cache<int, int>::all 17-18-21
        type Id 22-22-22""",
    ),
    "b.h": (
        "\nclass EXPORTED Widget : public Base {\n public:\n  void draw() { }\n};\n",
        "class Widget 2-2-5\nmethod Widget.draw 0-4-0",
    ),
    "a.h": ("class Widget {\n public:\n  void draw() { }\n};\n", "class Widget 1-1-4\nmethod Widget.draw 3-3-3"),
    "a.cs": (
        """/* class Hidden { } */
namespace Shop;
/// <summary>Holds.</summary>
[Serializable]
public sealed class Cart<T>
    : IDisposable where T : Item
{
    public const int Max = 3;
    public int Count { get; private set; }
    [Fact]
    public async Task<List<T>>
        LoadAsync(string key)
    {
        var s = @"
void Hidden() { }";
        int Local() => 3;
        return null;
    }
    ~Cart() { }
}
public record struct Point(int X);
delegate void Changed(int x);
""",
        """module Shop 1-2-2
        class Cart 3-5-20
        constant Cart.Max 8-8-8
        constant Cart.Count 9-9-9
        method Cart.LoadAsync 10-12-18
        function Cart.LoadAsync.Local 16-16-16
        method Cart.Cart 19-19-19
        class Point 21-21-21
        type Changed 22-22-22""",
    ),
    "a.rb": (
        """=begin
def hidden
end
=end
module Shop
  # Holds.
  class Cart < Base
    LIMIT = 3
    attr_reader :items, :owner
    def self.load!(key)
      <<~TEXT
        def hidden
        end
      TEXT
    end
    private def empty?
      items.each do |x| def inner; end end
    end
    def []=(k, v) = nil
  end
end
""",
        """module Shop 1-5-21
        class Shop.Cart 6-7-20
        constant Shop.Cart.LIMIT 8-8-8
        method Shop.Cart.items 9-9-9
        method Shop.Cart.load! 10-10-15
        method Shop.Cart.empty? 16-16-18
        function Shop.Cart.empty?.inner 17-17-17
        method Shop.Cart.[]= 19-19-19""",
    ),
    "a.php": (
        """<p>function hidden() {}</p>
<?php
namespace Shop;
// Holds.
#[Attribute]
abstract class Cart
    extends Base
{
    const MAX = 3;
    /** Loads. */
    public static function load(
        string $key,
    ): ?Cart {
        $s = <<<TEXT
function hidden() {
}
TEXT;
        return null;
    }
}
enum Mode: string { case A = 'a'; }
trait Logs { private function &log() { } }
function helper() { $f = function () {}; }
define('LIMIT', 3);
?>
<p>class Hidden {}</p>
""",
        """class Cart 4-6-20
        constant Cart.MAX 9-9-9
        method Cart.load 10-11-19
        enum Mode 21-21-21
        class Logs 22-22-22
        method Logs.log 22-22-22
        function helper 23-23-23
        constant LIMIT 24-24-24""",
    ),
    "a.swift": (
        '''/* func hidden() {} */
/// Holds.
@MainActor
public final class Cart: Base {
    init?(size: Int) { }
    @discardableResult
    public func add<T>(
        _ item: T
    ) -> Bool {
        let s = """
        func hidden() {}
        """
        func inner() {}
        return true
    }
}
extension Cart: Codable { static func empty() -> Cart { } }
protocol Store { associatedtype Item; func save() }
actor Queue { }
struct Point { }
indirect enum Tree { case leaf }
typealias Id = Int
let limit = 3
''',
        """class Cart 1-4-16
        method Cart.init 5-5-5
        method Cart.add 6-7-15
        function Cart.add.inner 13-13-13
        impl Cart 17-17-17
        method Cart.empty 17-17-17
        interface Store 18-18-18
        type Store.Item 18-18-18
        method Store.save 18-18-18
        class Queue 19-19-19
        struct Point 20-20-20
        enum Tree 21-21-21
        type Id 22-22-22
        constant limit 23-23-23""",
    ),
    "a.scala": (
        '''/* def hidden = 1 */
/** Holds. */
@deprecated("class Hidden")
sealed trait Event
case class Added(
  item: String
) extends Event {
  // Why.
  def total(
    x: Int
  ): Int = {
    val s = """
def hidden = 1
"""
    def inner = 1
    inner
  }
}
object Cart { val Limit = 3; type Id = Int }
''',
        """interface Event 1-4-4
        class Added 5-5-18
        method Added.total 8-9-17
        function Added.total.inner 15-15-15
        class Cart 19-19-19
        constant Cart.Limit 19-19-19
        type Cart.Id 19-19-19""",
    ),
    "a.lua": (
        """--[[
function hidden() end
]]
local text = [[
function hidden() end
]]
MAX_SIZE = 3
-- Loads.
function M.load(
  key
)
  local function inner() end
end
M.save = function(x)
end
function M:close() end
return { find = function() end }
""",
        """constant MAX_SIZE 7-7-7
        function M.load 8-9-13
        function M.load.inner 12-12-12
        function M.save 14-14-15
        function M.close 16-16-16
        function find 17-17-17""",
    ),
    "a.sh": (
        """#!/bin/bash
# hidden() { :; }
readonly LIMIT=3
cat <<TEXT
hidden() {
}
TEXT
# Builds.
function build
{
  inner() { echo "hidden() {"; }
}
clean_up() { :; }
""",
        """constant LIMIT 1-3-3
        function build 8-9-12
        function build.inner 11-11-11
        function clean_up 13-13-13""",
    ),
    "a.md": (
        """Title
=====

```
# hidden
```

## Two
text

### `Three` and more

# Last
""",
        """heading Title 1-1-11
        heading Two 8-8-11
        heading `Three` and more 11-11-11
        heading Last 13-13-13""",
    ),
    "a.json": (
        '{\n  "name": "a",\n  "scripts": {\n    "build": "x {",\n    "deep": {"deeper": 1}\n  }\n}\n',
        """key name 2-2-2
        key scripts 3-3-6
        key scripts.build 4-4-4
        key scripts.deep 5-5-5""",
    ),
    "a.yaml": (
        "# what\nversion: 3\nservices:\n  web:\n    run: |\n      hidden: 1\n  db:\n    image: y\n",
        """key version 1-2-2
        key services 3-3-8
        key services.web 4-4-6
        key services.db 7-7-8""",
    ),
    "a.toml": (
        'top = 1\n# why\n[tool.ruff]\nselect = [\n  "a",\n]\n[[bin]]\nname = "x"\n',
        "key tool.ruff 2-3-6\nkey bin 7-7-8",
    ),
    "a.html": (
        '<!-- <p id="hidden"> -->\n<main\n  class="a" id="page">\n<h1>The title</h1>\n'
        "{% block side %}\n<p id='low'>\n</p>\n</main>\n",
        """element page 1-3-8
        element The title 4-4-4
        element side 0-5-0
        element low 6-6-7""",
    ),
    "a.css": (
        "/* .hidden { } */\n.a,\n.b > c {\n  color: red;\n}\n@media print {\n  #id { x: y }\n}\n@keyframes spin { from { a: b } }\n",
        "rule .a, .b > c 1-2-5\nrule #id 7-7-7\nrule spin 9-9-9",
    ),
    "a.sql": (
        """-- create table hidden (x int);
CREATE TABLE IF NOT EXISTS shop.items (
  id int
);
create or replace function total(a int) returns int as $$ select 1; $$ language sql;
create view cheap as select * from items;
""",
        "table items 1-2-4\nfunction total 5-5-5\ntable cheap 6-6-6",
    ),
    "a.tf": (
        'terraform {\n}\n# Logs.\nresource "aws_s3_bucket" "logs" {\n  lifecycle {\n  }\n}\nvariable "region" {}\n',
        "block terraform 1-1-2\nblock logs 3-4-7\nblock region 8-8-8",
    ),
    "Dockerfile": (
        "# FROM hidden\nFROM python:3.11 AS base\nRUN a \\\n  && b\n\nFROM --platform=linux/amd64 base\nCOPY . .\n",
        "stage base 1-2-4\nstage base 6-6-7",
    ),
}
