"""The verb about priors: list. Importing this module imports no torch."""

from typing import Any

from nas.commands._values import Several
from nas.report.tables import Table


def priors() -> Several[dict[str, Any]]:
    """List the priors, lessons that come with nas: what --learn-from takes beside studies."""
    from nas.study import priors as shipped

    values = [
        {
            "name": prior.name,
            "space": prior.space,
            "networks": len(prior.lesson.metrics),
            "about": prior.about,
        }
        for prior in map(shipped.get, shipped.names())
    ]
    head = ["name", "space", "#networks", "trained with"]
    return Several(values, lambda _: [Table(head, [list(each.values()) for each in values])])
