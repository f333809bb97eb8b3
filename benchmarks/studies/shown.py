"""Seeds that show how far a study is: it goes through them once for each thing that it tries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import overload

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class ShownSeeds(Sequence[int]):
    """`seeds` with a bar for each time that they are gone through."""

    def __init__(self, seeds: Sequence[int], console: Console) -> None:
        self._seeds, self._rounds = seeds, 0
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._bar = Progress(*columns, console=console)
        self._row = self._bar.add_task("seeds", total=len(seeds))

    def __enter__(self) -> ShownSeeds:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __iter__(self) -> Iterator[int]:
        self._rounds += 1
        self._bar.reset(self._row, description=f"seeds, round {self._rounds}")
        for seed in self._seeds:
            yield seed
            self._bar.advance(self._row)

    def __len__(self) -> int:
        return len(self._seeds)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        return self._seeds[index]
