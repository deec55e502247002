"""The work of a data set, and how one machine does it.

`beam.py` does the same on many machines.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from exgan_jax.face_records import parallel
from tfds_celeb_id import records


@dataclasses.dataclass(frozen=True)
class Work:
  """The pictures of a data set, and a function that makes an entry of each.

  Attributes:
    function: importable and pure; maps an item to an entry or a rejection.
    items: one per picture, in order, with the attributes `identity` and
      `filename`; or `Rejected` if a picture is known to be unusable.
    metadata: for the metadata of the data set.
  """

  function: Callable[[Any], records.Entry | records.Rejected]
  items: Sequence[Any]
  metadata: dict[str, Any] = dataclasses.field(default_factory=dict)


def results(
  work: Work, workers: int | None
) -> Iterator[records.Entry | records.Rejected]:
  """Yields the result for each item, in order, from many processes."""
  items = (
    item for item in work.items if not isinstance(item, records.Rejected)
  )
  with contextlib.closing(
    parallel.ordered_map(work.function, items, workers)
  ) as done:
    for item in work.items:
      if isinstance(item, records.Rejected):
        yield item
      else:
        yield result_of(item, next(done))


def result_of(
  item: Any, result: Any | parallel.Failure
) -> records.Entry | records.Rejected:
  """Returns the result for an item, which is rejected if the call failed."""
  if isinstance(result, parallel.Failure):
    return records.Rejected(item.identity, item.filename, result.reason)
  return result
