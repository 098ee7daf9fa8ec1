"""What clients do in the rows, each in a few lines of `Scenario`'s methods."""

from faults.rows import ClientScript, ask_and_listen
from faults.scenario import Scenario


async def redeliver_after_crash(scenario: Scenario) -> None:
    await scenario.ask()
    await scenario.crashed()
    await scenario.redeliver()
    await scenario.listen()


async def away_during_crash(scenario: Scenario) -> None:
    await scenario.ask()
    await scenario.listen(count=2)
    await scenario.leave()
    await scenario.fault_happened.wait()
    await scenario.listen()


async def thaw_after_recovery(scenario: Scenario) -> None:
    await scenario.ask(token=scenario.name)
    await scenario.listen()
    scenario.thaw()
    await scenario.harness.handled(scenario.name)


async def redeliver_after_end(scenario: Scenario) -> None:
    await ask_and_listen(scenario)
    await scenario.redeliver()


async def send_again_after_reconnect(scenario: Scenario) -> None:
    await scenario.ask()
    await scenario.listen(count=2)  # `start` and a delta: a third frame may be the end already
    await scenario.leave()
    await scenario.connect()
    await scenario.expect_refusal("duplicate")
    await scenario.resume()
    await scenario.listen()


def leave_after(frames: int) -> ClientScript:
    """Leaves after so many frames and resumes; the answer is held until a frame arrives there."""

    async def script(scenario: Scenario) -> None:
        await scenario.ask()
        await scenario.listen(count=frames)
        await scenario.leave()
        await scenario.listen(count=frames + 1)
        scenario.release()
        await scenario.listen()

    return script


async def reconnect_after_each_frame(scenario: Scenario) -> None:
    await scenario.ask()
    while not scenario.ended:
        await scenario.listen(count=len(scenario.frames) + 1)
        if not scenario.ended:
            await scenario.reconnect()


async def resume_from_each_seq(scenario: Scenario) -> None:
    await ask_and_listen(scenario)
    await scenario.compare_resumes()


async def resume_on_second_connection(scenario: Scenario) -> None:
    """The answer is held until the second connection has received a frame."""
    await scenario.ask()
    await scenario.listen(count=4)
    await scenario.connect()
    await scenario.resume()
    await scenario.listen(count=5)
    scenario.release()
    await scenario.listen()


async def use_second_tab(scenario: Scenario) -> None:
    await scenario.expect_busy()


async def stop(scenario: Scenario) -> None:
    await scenario.send_and_wait(action="stop", request_id=scenario.request_id)
