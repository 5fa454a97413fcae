"""What stands in the house that pictures are taken of: chats of some weeks, documents, memories, people, keys."""

import json
import time
from typing import Any

from functions.chat.messages import new_id
from tests.house import House
from tests.importing.conversations import conversation, node, said
from tests.simulated import Scenario

TOKEN = "sesame"
DAY = 86_400

TITLES = (
    ("Sourdough that rises in a cold kitchen", 0.3),
    ("Why is the sky blue?", 1.1),
    ("给团队写一封介绍信", 1.4),
    ("A very long title about the migration of the billing service from three monoliths to something smaller", 2.2),
    ("Regex for a postcode", 3.0),
    ("שאלה על מתכון לחלה", 3.5),
    ("Trip to Lisbon in May", 4.2),
    ("Backup strategy for a home server", 5.1),
    ("Explain monads to a gardener", 6.3),
    ("Names for a cat", 9.0),
    ("Interview questions for an SRE", 12.0),
    ("How bees are calmed", 15.0),
    ("Rust or Go for a CLI?", 21.0),
    ("Garden in the shade", 40.0),
    ("Recipe: lentil soup", 71.0),
)

GUIDE = """A backup that was never restored is a hope. Three layers cover most of what goes wrong:

| Layer | Guards against | Kept for |
|---|---|---|
| Point-in-time recovery | a bad deploy, a wrong `DELETE` | 35 days |
| Nightly export to S3 | a lost account | 1 year |
| Monthly restore test | backups that cannot be read | – |

Start the export from a scheduled job:

```python
def export_tables(client, bucket: str) -> list[str]:
    \"\"\"One full export for each table; answers their ARNs.\"\"\"
    names = client.list_tables()["TableNames"]
    return [
        client.export_table_to_point_in_time(TableArn=arn_of(name), S3Bucket=bucket)["ExportDescription"]["ExportArn"]
        for name in names
    ]
```

The cost grows with the size: $c = 0.10 \\cdot \\text{GB}$ a month for each copy, so **keep few, and test them**."""

ANSWERS = {
    "Is this right: AKIAIOSFODNN7EXAMPLE?": "It looks like an access key. Do not paste such keys into chats.",
    "How do I back up DynamoDB tables every night?": GUIDE,
    "And how do I know that they work?": (
        "Restore one of them every month, *automatically*:\n\n"
        "1. Restore the newest export into a table with another name.\n"
        "2. Count the items and compare a hundred of them at random.\n"
        "3. Delete the copy, and write down how long it took.\n\n"
        "> The time it took is your real recovery time.\n"
    ),
    "How soon must a page be acknowledged?": (
        "Within **five minutes** [1]. If nobody does, it goes to the second in line [1]."
    ),
}

RUNBOOK = """# Runbook

## Paging

Whoever is on call acknowledges the page within five minutes. If nobody does, it goes to the second in line.

## Backups

Backups are taken every night at two and kept for thirty days.
"""


async def furnish(house: House) -> str:
    """Fill the house as a person would in some weeks; answers the id of the chat that pictures show."""
    await _import_chats(house)
    chat_id = await _talk(house)
    await _documents(house)
    for text in ("Prefers short answers with examples.", "Runs a small team in Zürich.", "Allergic to hazelnuts."):
        await _made(house.http.post("/memories", json={"text": text}))
    await _made(house.http.patch("/me", json={"custom_instructions": "Answer briefly, in plain words."}))
    template = {"name": "Review", "text": "Review {{what}}, briefly. Begin with what is wrong."}
    await _made(house.http.put(f"/templates/{new_id()}", json=template))
    await _made(house.http.post("/keys", json={"name": "Notebook", "scopes": ["chat"]}))
    await _made(house.http.post("/keys", json={"name": "Nightly report", "scopes": ["read"], "expires_days": 30}))
    await _people(house)
    return chat_id


async def _made(answer: Any) -> Any:
    answered = await answer
    assert answered.is_success, answered.text
    return answered.json() if answered.content else None


async def _import_chats(house: House) -> None:
    now = time.time()
    chats = []
    for n, (title, days) in enumerate(TITLES):
        at = now - days * DAY
        question = node("q", "root", said("user", f"{title}?", at=at))
        answer = node("a", "q", said("assistant", f"In short: it depends. {title}, and what follows.", at=at + 5))
        chats.append(
            conversation(
                node("root", None),
                question,
                answer,
                conversation_id=f"c-{n}",
                title=title,
                create_time=at,
                update_time=at + 5,
            )
        )
    told = await house.http.post("/import", content=json.dumps(chats).encode())
    assert told.status_code == 200, told.text
    assert "event: done" in told.text, told.text


async def _talk(house: House) -> str:
    chat_id = await house.open_chat(title="Nightly backups of the DynamoDB tables")
    for question in ("How do I back up DynamoDB tables every night?", "And how do I know that they work?"):
        house.engine.scenario = Scenario(text=ANSWERS[question])
        await house.say(chat_id, question)
    return chat_id


async def _documents(house: House) -> None:
    for name, text in (("runbook.md", RUNBOOK), ("travel-policy.md", "# Travel\n\nTrains before planes.\n")):
        headers = {"Content-Type": "text/markdown"}
        sent = house.http.post("/knowledge", params={"filename": name}, content=text.encode(), headers=headers)
        await _made(sent)


async def _people(house: House) -> None:
    for name, role in (("grace", "member"), ("edsger", "viewer"), ("barbara", "admin")):
        invited = await _made(house.http.post("/admin/invitations", json={"name": name, "role": role}))
        if name != "edsger":
            secret = invited["link"].rpartition("/")[2]
            await _made(house.http.post("/join", json={"token": secret}, headers={"Authorization": ""}))
    await _made(house.http.put("/admin/limits/groups/research", json={"usd_per_day": 5.0, "runs_at_once": 4}))
    blocked = await house.open_chat(title="A key by mistake")
    await house.say(blocked, "My key is AKIAIOSFODNN7EXAMPLE, does it work?")
    await house.http.delete(f"/chat/{blocked}")
