from __future__ import annotations

import io

from rich.console import Console

from robot_rl.compositions.plain_text import plain


def test_what_comes_out_of_a_file_does_not_command_the_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    console.print(plain("[red]a\x1b[2J\nb"))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "[red]a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b\n"
