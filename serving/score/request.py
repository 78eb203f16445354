"""What an archive is asked: under which domain its rows are scored, and what is kept of them."""

from dataclasses import dataclass, replace

from configs.domain_names import ALL, AUTO, BACKBONE, sorted_conditions
from configs.errors import InputError, did_you_mean
from preprocessing.logs.schema import Column, LogTable
from serving.score.archive_model import ArchiveModel


@dataclass(frozen=True)
class Request:
    """What is asked of every row.

    Attributes:
      domain: that rows are scored under; None where the model takes none.
      domain_column: the column that names a row's own domain; None where there is none.
      keep: columns that stand beside the scores, as they came.
      batch_rows: rows that the graph is run on at once.
    """

    domain: str | None
    domain_column: str | None
    keep: tuple[str, ...]
    batch_rows: int

    @classmethod
    def of(
        cls,
        model: ArchiveModel,
        domain: str | None,
        domain_column: str | None,
        keep: tuple[str, ...] | None,
        batch_rows: int,
    ) -> "Request":
        """Checks what a command line says against the model; None is its default.

        Raises:
          InputError: a domain that the model does not know, or any where it takes none; a kept
            column of an output's name.
        """
        if keep is None:
            key = (*model.logs.row_key, model.logs.request)
            keep = tuple(name for name in key if name is not None)
        keep = tuple(dict.fromkeys(keep))
        if taken := [name for name in keep if name in model.outputs]:
            raise InputError(
                f"--keep: '{taken[0]}' is an output of the model; a column beside it cannot have"
                " its name, so rename the archive's"
            )
        if not model.takes_domain:
            if domain is not None or domain_column is not None:
                raise InputError(
                    f"{model.path}: takes no domain, received"
                    f" {f'--domain {domain}' if domain is not None else '--domain-column'}"
                )
            return cls(None, None, keep, batch_rows)
        domain = AUTO if domain is None else domain
        _check_known(domain, model)
        return cls(domain, domain_column, keep, batch_rows)

    def table(self, model: ArchiveModel) -> LogTable:
        """What is read of the archive. Raises ``InputError`` where the domain's column is none of
        text.
        """
        columns = dict(model.columns)
        if self.domain_column is not None:
            own = Column(self.domain_column, "string")
            if columns.setdefault(self.domain_column, own).kind != "string":
                raise InputError(
                    f"--domain-column: the model reads '{self.domain_column}' as"
                    f" {columns[self.domain_column].kind}; expected a column of text"
                )
        logs = model.logs
        return replace(
            LogTable(columns, self.keep),
            null_values=logs.null_values,
            lists_alike=model.lists_alike,
        )


def _check_known(domain: str, model: ArchiveModel) -> None:
    """A server routes a name that it does not know as ``auto``; whoever types one means it."""
    if model.logs.domains is None:
        return
    known = [AUTO, BACKBONE, ALL, *model.logs.domains]
    if sorted_conditions(domain) not in map(sorted_conditions, known):
        near = did_you_mean(domain, known, sorted_conditions)
        raise InputError(f"--domain: the model knows no domain '{domain}'{near}")
