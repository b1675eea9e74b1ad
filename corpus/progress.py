"""How far a work is: a bar on a terminal, and plain lines where output goes to a file or a log."""

import time
from typing import Any

from rich.progress import Progress as Bars
from rich.progress import TaskID

LINE_EVERY = 10.0  # seconds


class Progress(Bars):
    """rich's Progress, which without a terminal prints nothing until its end, then once.

    So `ray job logs --follow` shows a line such as `score pairs: 4,000 of 10,000 (40 %), 12 s`
    every ten seconds; work that ends sooner has none.
    """

    def __init__(self, *columns: Any, **settings: Any) -> None:
        super().__init__(*columns, **settings)
        self._begun = self._last_line = time.monotonic()
        if not self.console.is_terminal:
            self.disable = True  # the bars, not the count

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """As rich's; without a terminal prints a line where it is time for one."""
        super().update(task_id, **changes)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """As rich's; without a terminal prints a line where it is time for one."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        now = time.monotonic()
        if self.console.is_terminal or now - self._last_line < LINE_EVERY:
            return
        self._last_line = now
        task = self._tasks[task_id]
        note = task.fields.get("note") or f"{now - self._begun:.0f} s"
        print(
            f"{task.description}: {task.completed:,.0f} of {task.total or 0:,.0f} "
            f"({task.percentage:.0f} %), {note}",
            flush=True,
        )
