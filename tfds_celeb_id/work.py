"""What a data set has to do for each of its pictures, and doing it here.

`beam.py` does the same on many machines.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from exgan_jax.face_records import parallel
from tfds_celeb_id import records


@dataclasses.dataclass(frozen=True)
class Work:
  """The pictures of a data set, and how one of them becomes an entry.

  Attributes:
    function: importable and pure; takes an item, returns an entry or why there
      is none.
    items: one for each picture, in order, each with the attributes `identity`
      and `filename`; what cannot be used for reasons known before is there as
      rejected already.
    metadata: what the data set's metadata say about it.
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
  done = parallel.ordered_map(work.function, items, workers)
  try:
    for item in work.items:
      if not isinstance(item, records.Rejected):
        yield result_of(item, next(done))
      else:
        yield item
  finally:
    done.close()


def result_of(
  item: Any, result: Any | parallel.Failure
) -> records.Entry | records.Rejected:
  """Returns the result for an item, rejected if the call failed."""
  if isinstance(result, parallel.Failure):
    return records.Rejected(item.identity, item.filename, result.reason)
  return result
