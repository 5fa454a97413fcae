/** Texts that models write, and texts that hurt. */
export const LONG = `# Binary search

A **sorted** list lets us *halve* the range each step: \`lo\`, \`hi\`, and ~~luck~~ arithmetic. See [the article](https://en.wikipedia.org/wiki/Binary_search "Wikipedia") or <https://example.org/x>.

## Code

\`\`\`python
def search(items: list[int], wanted: int) -> int | None:
    """Find wanted."""
    lo, hi = 0, len(items)
    while lo < hi:
        mid = (lo + hi) // 2  # floor
        if items[mid] < wanted:
            lo = mid + 1
        else:
            hi = mid
    return lo if lo < len(items) and items[lo] == wanted else None
\`\`\`

| Step | Range | Size |
|:-----|:-----:|-----:|
| 0 | \`[0, 16)\` | 16 |
| 1 | [0, 8) | **8** |
| 2 | a<br>b | 4 |

Its cost is $O(\\log_2 n)$, since

$$
n \\cdot 2^{-k} = 1 \\iff k = \\log_2 n
$$

and \\(a^2 + b^2 = c^2\\) too, for $5 and $6 dollars.

1. First
2. Second
   - nested *one*
   - nested two

     with a paragraph
3. Third

- [x] done
- [ ] to do

> A quote
> over two lines
>
> > nested

---

An image: ![a cat](https://example.com/cat.png) and an entity &amp; &copy; &#x41; &nope;.

Setext
======

\`\`\`
plain
\`\`\`

The end[^1]. [ref][r] and [bad][missing].

[r]: https://example.com/ref
`;

export const CHINESE = `你好！我是 **Parley**，一个私有的聊天助手。

## 我能做什么

1. 回答问题
2. 写代码：\`print("你好")\`
3. 讲故事 🙂👩‍👩‍👧

| 项目 | 说明 |
|---|---|
| 延迟 | 很低 |
| 费用 | 按秒计 |

公式：$E = mc^2$。
`;

export const TEXTS: readonly string[] = [
  LONG,
  CHINESE,
  '',
  'plain',
  'two\n\nparagraphs',
  'hard  \nbreak\nsoft',
  '**bold *both* bold**',
  '*a **b* c**',
  '`` code ` tick ``',
  '```js\nconst a = `x`;\n',
  '~~~\ntilde\n~~~\nafter',
  '````md\n```js\nx\n```\n````',
  '    indented\n    code\n\nafter',
  '- a\n- b\n\n- loose',
  '- a\n\n  ```py\n  x = 1\n  ```\n- b',
  '1) x\n2) y\n\n7. seven',
  '* * *\n\n***\n\n---',
  'a\n---\nb\n===\n',
  '| a | b |\n|---|---|\n| 1 | 2 |\n| 3 |',
  '| a |\nnot a table',
  'a | b\n--|--\n1 | 2',
  '$$x$$\n\ntext',
  '$$\nopen formula',
  '\\[\na\n\\]\nb',
  'inline \\(x\\) and \\[y\\] here',
  '$a$b $c$, $5, 10$ and $d e$',
  'price $5 and $x_1$',
  'text $unclosed',
  '[a](b) [c](https://d.e/f) [g][h]\n\n[h]: https://i.j',
  '[late][x] text\n\nmore\n\n[x]: https://late.example\n',
  '![i](javascript:alert(1)) ![](https://x.y/z.png)',
  '# 1\n#### 4\n## 2\n###### 6\n# 1',
  '> quote\ncontinued\n\nafter',
  '> - list\n>   in quote\n>\n> ```\n> code\n> ```',
  '<div>html</div>\n\ntext',
  'a <b>bold</b> <br> <br/> c',
  '<!-- comment --> after',
  '<script>alert(1)</script>',
  'line\r\nwith crlf\r\n\r\nnext',
  'tab\there\n\n\ttabbed code',
  'emoji 👩‍👩‍👧 and 🇨🇳 flags',
  'trailing backslash \\',
  '\\*not em\\* \\# \\`',
  'www.example.com and https://example.com/a_b_c, me@example.com.',
  '- [ ] a\n- [x] b\n  - [ ] c',
  'a\u2028b\u00a0c\u200bd',
  '_a_ __b__ ___c___ a_b_c',
  '***bold italic*** **unclosed',
  'x < y > z & w',
  '1. a\n   1. b\n      1. c',
  '## Heading with `code` and $x$',
  'foo\n\n\n\n\nbar',
  '-\n- \n-   x',
  'term\n: def',
  '```mermaid\ngraph TD\n```\ntext after',
  '|a|b|\n|:-:|:-|\n|**x**|`y|z`|',
];

/** Nothing here may become an element with a script, a handler or an address that runs code. */
export const ATTACKS: readonly string[] = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg onload=alert(1)>',
  '<iframe src="javascript:alert(1)"></iframe>',
  '<a href="javascript:alert(1)">x</a>',
  '[x](javascript:alert(1))',
  '[x](JaVaScRiPt:alert(1))',
  '[x](java\nscript:alert(1))',
  '[x](java&#10;script:alert(1))',
  '[x](&#106;avascript:alert(1))',
  '[x](&#x6A;avascript&colon;alert(1))',
  '[x](\u0001javascript:alert(1))',
  '[x]( javascript:alert(1))',
  '[x](<javascript:alert(1)>)',
  '[x](vbscript:msgbox(1))',
  '[x](data:text/html,<script>alert(1)</script>)',
  '[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)',
  '[x](blob:https://example.com/1)',
  '[x](file:///etc/passwd)',
  '[x](//evil.example)',
  '[x](/session)',
  '[x](#/c/1)',
  '[x](https://user:pass@evil.example)',
  '![x](javascript:alert(1))',
  '![x](x"onerror="alert(1))',
  '![x](https://evil.example/pixel.png?u=1)',
  '<javascript:alert(1)>',
  '<data:text/html,x>',
  '[x]: javascript:alert(1)\n\n[x]',
  '[x][y]\n\n[y]: javascript:alert(1)',
  '```<img src=x onerror=alert(1)>\ncode\n```',
  '```js"onload="alert(1)\ncode\n```',
  '`<img src=x onerror=alert(1)>`',
  '| <img src=x onerror=alert(1)> |\n|---|\n| <script>1</script> |',
  '# <img src=x onerror=alert(1)>',
  '> <style>*{display:none}</style>',
  '- <form action=https://evil.example><button>',
  '$\\href{javascript:alert(1)}{x}$',
  '$$\\includegraphics{https://evil.example/x.png}$$',
  '$\\htmlStyle{background:url(https://evil.example)}{x}$',
  '$\\url{javascript:alert(1)}$',
  '$\\htmlData{onclick=alert(1)}{x}$',
  '&lt;script&gt;alert(1)&lt;/script&gt;',
  '&#60;img src=x onerror=alert(1)&#62;',
  '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>',
  '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
  '[a](https://example.com "onmouseover=alert(1)")',
  '[paypal.com](https://evil.example/login)',
  '[https://bank.example](https://evil.example)',
  '<details open ontoggle=alert(1)>',
  '<base href="https://evil.example/">',
  '<meta http-equiv="refresh" content="0;url=https://evil.example">',
  '<link rel=stylesheet href=https://evil.example/x.css>',
];
