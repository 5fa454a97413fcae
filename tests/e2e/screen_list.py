"""Every screen that pictures are taken of, and the steps that lead to it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from playwright.async_api import Page

from tests.e2e.screen_world import ANSWERS, TOKEN
from tests.house import House

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


@dataclass(frozen=True)
class View:
    device: str = "desktop"
    theme: str = "light"
    lang: str = "en"

    def __str__(self) -> str:
        return f"{self.device}-{self.theme}-{self.lang}"


@dataclass
class Stage:
    """One browser window at one screen; the words on its buttons depend on the language, so steps go by structure."""

    page: Page
    house: House
    chat: str
    is_phone: bool

    async def at(self, address: str, ready: str) -> None:
        await self.page.goto(f"{self.house.url}/{address}")
        await self.page.locator(ready).first.wait_for()

    async def ask(self, text: str) -> None:
        self.house.engine.scenario = replace(self.house.engine.scenario, text=ANSWERS.get(text, text))
        await self.page.locator("#composer").fill(text)
        await self.page.locator(".send").click()

    async def show_side(self) -> None:
        if self.is_phone:
            await self.page.locator(".head .icon-button").first.click()
            await self.page.locator(".sidebar:not([inert])").wait_for()


Show = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Screen:
    name: str
    caption: str
    show: Show
    view: View = View()
    signed_in: bool = True


SCREENS: list[Screen] = []


def screen(caption: str, view: View = View(), *, signed_in: bool = True) -> Callable[[Show], Show]:
    def added(show: Show) -> Show:
        SCREENS.append(Screen(show.__name__.replace("_", "-"), caption, show, view, signed_in))
        return show

    return added


@screen("Signing in with an access token", View("phone"), signed_in=False)
async def sign_in(stage: Stage) -> None:
    await stage.page.locator("input").first.wait_for()


@screen("The first visit")
async def empty(stage: Stage) -> None:
    await stage.page.locator(".suggestions").wait_for()


@screen("A conversation")
async def chat(stage: Stage) -> None:
    await stage.at(f"#/c/{stage.chat}", ".turn.assistant .prose table")
    await stage.page.locator(".thread").evaluate("node => node.scrollTo(0, 0)")


@screen("The same in the dark, on a phone", View("phone", "dark"))
async def chat_end(stage: Stage) -> None:
    await stage.at(f"#/c/{stage.chat}", ".turn.assistant .prose table")
    await stage.page.locator(".thread").evaluate("node => node.scrollTo(0, node.scrollHeight)")


@screen("Chats, on a phone", View("phone"))
async def sidebar(stage: Stage) -> None:
    await stage.show_side()
    await stage.page.locator(".row").first.wait_for()


@screen("Searching all chats")
async def search(stage: Stage) -> None:
    await stage.show_side()
    await stage.page.locator(".search input").fill("backup")
    await stage.page.locator(".row mark").first.wait_for()


@screen("Several chats picked")
async def picked(stage: Stage) -> None:
    await stage.show_side()
    await stage.page.locator(".row a").first.click(modifiers=["ControlOrMeta"])
    for n in (1, 2):
        await stage.page.locator(".row label").nth(n).click()
    await stage.page.locator("[role=toolbar]").wait_for()


@screen("Choosing a model")
async def models(stage: Stage) -> None:
    await stage.page.locator(".model").click()
    await stage.page.locator("[role=menuitemradio]").last.wait_for()


@screen("An answer from one's own documents", View(theme="dark"))
async def sources(stage: Stage) -> None:
    await stage.page.locator(".composer [aria-pressed]").click()
    await stage.ask("How soon must a page be acknowledged?")
    await stage.page.locator(".prose .cite").first.click()
    await stage.page.locator("dialog[open]").wait_for()


@screen("What a guardrail did")
async def guarded(stage: Stage) -> None:
    await stage.ask("Is this right: AKIAIOSFODNN7EXAMPLE?")
    await stage.page.locator(".verdict").first.wait_for()


@screen("What an answer took")
async def facts(stage: Stage) -> None:
    await stage.at(f"#/c/{stage.chat}", ".turn.assistant .facts summary")
    await stage.page.locator(".facts summary").last.click()


@screen("The command palette")
async def palette(stage: Stage) -> None:
    await stage.page.locator("#composer").press("Control+k")
    await stage.page.locator("[role=combobox]").fill("ba")
    await stage.page.locator("[role=option]").first.wait_for()


@screen("Keyboard shortcuts", View(lang="zh"))
async def shortcuts(stage: Stage) -> None:
    await stage.page.locator("h1, .welcome").first.click()
    await stage.page.keyboard.press("?")
    await stage.page.locator("dialog[open]").wait_for()


def dialog(name: str, caption: str, address: str, ready: str = "dialog[open]", view: View = View()) -> None:
    async def show(stage: Stage) -> None:
        await stage.at(address, ready)

    SCREENS.append(Screen(name, caption, show, view))


dialog("settings", "Settings", "#/settings", "dialog.settings", View(theme="dark"))
dialog("usage", "What is left and what it cost", "#/settings/usage", ".usage .tiles, .usage-none-title")
dialog("keys", "API keys", "#/settings/keys")
dialog("sessions", "Devices", "#/settings/sessions")
dialog("admin-users", "Users", "#/admin/users", "dialog[open] [role=tabpanel]")
dialog("admin-invitations", "Invitations", "#/admin/invitations", "dialog[open] [role=tabpanel]")
dialog("admin-limits", "Limits", "#/admin/limits", "dialog[open] [role=tabpanel]")
dialog("admin-nodes", "Models and nodes", "#/admin/nodes", "dialog[open] [role=tabpanel]")
dialog("admin-verdicts", "What guardrails decided", "#/admin/verdicts", "dialog[open] [role=tabpanel]")
dialog("admin-pause", "The pause switch", "#/admin/pause", "dialog[open] [role=tabpanel]")


async def open_by_palette(stage: Stage, english: str, chinese: str) -> None:
    is_english = await stage.page.evaluate("document.documentElement.lang.startsWith('en')")
    await stage.page.locator("#composer").press("Control+k")
    await stage.page.locator("[role=combobox]").fill(english if is_english else chinese)
    await stage.page.locator("[role=option]").first.click()
    await stage.page.locator("dialog[open]:not(.palette)").wait_for()


@screen("One's documents")
async def knowledge(stage: Stage) -> None:
    await open_by_palette(stage, "Knowledge", "知识")


@screen("What is remembered, to be changed and deleted")
async def memory(stage: Stage) -> None:
    await open_by_palette(stage, "remember", "记")


@screen("Templates")
async def templates(stage: Stage) -> None:
    await open_by_palette(stage, "template", "模板")


@screen("Settings of one chat")
async def tuning(stage: Stage) -> None:
    await stage.page.locator(".head .icon-button[data-tip]").nth(1 if stage.is_phone else 0).click()
    await stage.page.locator("dialog[open]").wait_for()


@screen("Importing from elsewhere", View("phone"))
async def importing(stage: Stage) -> None:
    await open_by_palette(stage, "import", "导入")


@screen("A shared chat, as a visitor reads it", View("phone"), signed_in=False)
async def shared(stage: Stage) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    made = await stage.house.http.post(f"/chat/{stage.chat}/share", json={}, headers=headers)
    await stage.at(made.json()["url"].lstrip("/"), ".turn.assistant .prose table")


@screen("A GPU wakes")
async def waking(stage: Stage) -> None:
    await stage.page.locator(".model").click()
    await stage.page.locator("[role=menuitemradio]").last.click()
    await stage.ask("Are you awake?")
    await stage.page.locator(".waking").wait_for()


@screen("A model that fails")
async def failed(stage: Stage) -> None:
    stage.house.engine.scenario = replace(stage.house.engine.scenario, status=500)
    await stage.page.locator("#composer").fill("Hello")
    await stage.page.locator(".send").click()
    await stage.page.locator(".note.error").wait_for(timeout=60_000)
