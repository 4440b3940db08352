"""A group of commands that answers a mistyped name with the nearest one."""

from __future__ import annotations

from difflib import get_close_matches

import click


class HintingGroup(click.Group):
    """A click group, the same with every click: those before 8.4 give no hints."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named; where there is none, ask whether a similar one is meant."""
        names = self.list_commands(ctx)
        near = get_close_matches(args[0], names, n=1)
        if near and args[0] not in names and not ctx.resilient_parsing:  # which is so in shell completion
            raise click.UsageError(f"No such command {args[0]!r}: did you mean {near[0]!r}?", ctx)
        return super().resolve_command(ctx, args)
