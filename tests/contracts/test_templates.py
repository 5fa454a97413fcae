"""Templates: an owner's own, kept whole under their ids."""

from tests.contracts.makers import NASTY, Store, a_template


async def test_templates_come_back_whole_and_the_oldest_first_and_are_put_again(store: Store, owner: str) -> None:
    one, two = a_template(text=NASTY, name=NASTY), a_template()
    await store.put_template(owner, two)
    await store.put_template(owner, one)
    assert await store.list_templates(owner) == (one, two)

    changed = a_template(id=one.id, name="Another", text="{{gap}}")
    await store.put_template(owner, changed)

    assert await store.list_templates(owner) == (changed, two)


async def test_a_template_of_another_is_not_there_and_one_is_deleted_once(store: Store, owner: str) -> None:
    template = a_template()
    await store.put_template(owner, template)
    other = f"{owner}#Y"

    assert await store.list_templates(other) == ()
    assert not await store.delete_template(other, template.id)
    assert await store.list_templates(owner) == (template,)
    assert await store.delete_template(owner, template.id)
    assert not await store.delete_template(owner, template.id)
    assert await store.list_templates(owner) == ()
