"""What clients do, each in a few lines; `scene` has the words."""

from faults.rows import Story, ask_and_listen
from faults.scenario import Scene


async def event_comes_again_after_a_crash(scene: Scene) -> None:
    await scene.ask()
    await scene.crashed()
    await scene.again()
    await scene.listen()


async def away_when_it_crashes(scene: Scene) -> None:
    await scene.ask()
    await scene.listen(until=2)
    await scene.leave()
    await scene.struck.wait()
    await scene.listen()


async def comes_back_to_life(scene: Scene) -> None:
    await scene.ask(aside=scene.name)
    await scene.listen()
    scene.thaw()
    await scene.stage.done_with(scene.name)


async def event_comes_again_at_the_end(scene: Scene) -> None:
    await ask_and_listen(scene)
    await scene.again()


async def sends_again(scene: Scene) -> None:
    await scene.ask()
    await scene.listen(until=3)
    await scene.leave()
    await scene.connect()
    await scene.refused("duplicate")
    await scene.resume()
    await scene.listen()


def leaves_after(frames: int) -> Story:
    async def story(scene: Scene) -> None:
        await scene.ask()
        await scene.listen(until=frames)
        await scene.leave()
        await scene.listen()

    return story


async def restless(scene: Scene) -> None:
    await scene.ask()
    while not scene.ended:
        await scene.listen(until=len(scene.heard) + 1)
        if not scene.ended:
            await scene.come_back()


async def resumes_everywhere(scene: Scene) -> None:
    await ask_and_listen(scene)
    await scene.compare_resumes()


async def resumes_beside(scene: Scene) -> None:
    await scene.ask()
    await scene.listen(until=4)
    await scene.connect()
    await scene.resume()
    await scene.listen()


async def another_tab_asks(scene: Scene) -> None:
    await scene.finds_it_busy()


async def stops(scene: Scene) -> None:
    await scene.aside(action="stop", request_id=scene.request_id)
