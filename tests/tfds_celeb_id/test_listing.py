"""The authors' listings, valid and invalid."""

import json
import math

import hypothesis
import pytest
from hypothesis import strategies as st

from exgan_jax.errors import InputError
from tfds_celeb_id import records
from tfds_celeb_id.celeb_id import listing

hypothesis.settings.register_profile('quick', deadline=None, max_examples=150)
hypothesis.settings.load_profile('quick')

POINT = {'x': 97, 'y': 106}
ALIGNED = {
  'filename': 'celeb_a-1.jpg',
  **{'eye_left': POINT, 'box_left': {'w': 60, 'h': 48}},
  **{'eye_right': {'x': 160, 'y': 107}, 'box_right': {'w': 48, 'h': 96}},
  **{'opened': 0.98, 'closed': 0.01},
}
RAW = {
  **{'eye_left': POINT, 'eye_right': POINT, 'mouth_center': POINT},
  **{'face_x': 1, 'face_y': 2, 'face_w': 3, 'face_h': 4, 'roll': -5.5},
  **{'eyes_opened': 0.9, 'eyes_closed': 0.1},
}


def _aligned(*entries):
  return listing.parse_aligned(json.dumps({'celeb_a': entries}).encode())


def _raw(entry, name='celeb_a-1.jpg'):
  return listing.parse_raw(json.dumps({name: entry}).encode())


def test_reads_entries():
  (found,) = _aligned(ALIGNED)
  assert found == listing.Aligned(
    'celeb_a',
    'celeb_a-1.jpg',
    ((97, 106), (160, 107)),
    ((60, 48), (48, 96)),
    0.98,
    0.01,
  )
  (found,) = _raw(RAW, 'jean-luc-12.jpg')
  assert (found.identity, found.filename) == ('jean-luc', 'jean-luc-12.jpg')
  face = found.face
  assert face.eyes == ((97, 106), (97, 106)) and face.mouth == (97, 106)
  assert (face.x, face.y, face.width, face.height) == (1, 2, 3, 4)
  assert (face.roll, face.opened, face.closed) == (-5.5, 0.9, 0.1)


def test_some_values_may_be_missing():
  (found,) = _aligned(ALIGNED | {'opened': None, 'closed': None})
  assert math.isnan(found.opened) and math.isnan(found.closed)
  less = {k: v for k, v in RAW.items() if not k.startswith(('mouth', 'eyes_'))}
  (found,) = _raw(less)
  assert found.face.mouth is None and math.isnan(found.face.opened)


@pytest.mark.parametrize(
  ('changes', 'reason'),
  [
    ({'eye_left': None}, 'no left eye'),
    ({'eye_left': None, 'eye_right': None}, 'no left and no right eye'),
    ({'box_left': None}, 'no box_left'),
    ({'eye_left': [97, 106]}, 'no eye_left'),
    ({'eye_left': {'x': 97}}, 'eye_left: y is not a number'),
    ({'eye_left': {'x': '97', 'y': 106}}, 'eye_left: x is not a number'),
    ({'eye_left': {'x': True, 'y': 106}}, 'eye_left: x is not a number'),
    ({'eye_left': {'x': math.nan, 'y': 1}}, 'eye_left: x is out of range'),
    ({'eye_left': {'x': math.inf, 'y': 1}}, 'eye_left: x is out of range'),
    ({'eye_left': {'x': 10**400, 'y': 1}}, 'eye_left: x is out of range'),
    ({'box_right': {'w': -48, 'h': 48}}, 'box_right: w is out of range'),
    ({'box_right': {'w': 0, 'h': 48}}, 'box_right: w is out of range'),
    ({'box_right': {'w': 1e9, 'h': 48}}, 'box_right: w is out of range'),
    ({'opened': 1.5}, 'opened is out of range'),
    ({'opened': 'yes'}, 'opened is not a number'),
    ({'filename': '../../etc/passwd'}, 'not a plain file name'),
    ({'filename': '/etc/passwd'}, 'not a plain file name'),
    ({'filename': '..'}, 'not a plain file name'),
    ({'filename': 'C:a-1.jpg'}, 'not a plain file name'),
    ({'filename': 'a\x00-1.jpg'}, 'not a plain file name'),
    ({'filename': 'a\ud800-1.jpg'}, 'not a plain file name'),
    ({'filename': 'a' * 300}, 'not a plain file name'),
    ({'filename': ''}, 'not a plain file name'),
    ({'filename': 3}, 'not a plain file name'),
  ],
)
def test_an_invalid_entry_affects_no_other(changes, reason):
  entries = [ALIGNED | changes, ALIGNED | {'filename': 'b-1.jpg'}]
  bad, good = _aligned(*entries)
  assert isinstance(bad, records.Rejected) and bad.reason == reason
  assert good.filename == 'b-1.jpg'


@pytest.mark.parametrize(
  ('changes', 'reason'),
  [
    ({'roll': None}, 'roll is not a number'),
    ({'roll': 1e9}, 'roll is out of range'),
    ({'face_w': 0}, 'face_w is out of range'),
    ({'face_h': 1e30}, 'face_h is out of range'),
    ({'eye_right': None}, 'no right eye'),
  ],
)
def test_an_invalid_face_is_rejected(changes, reason):
  (bad,) = _raw(RAW | changes)
  assert bad == records.Rejected('celeb_a', 'celeb_a-1.jpg', reason)


def test_repeated_names():
  first, second = _aligned(ALIGNED, ALIGNED)
  assert isinstance(first, listing.Aligned)
  assert second.reason == 'the name of an earlier picture'
  # An accent as a letter of its own, or as part of one.
  first, second = _aligned(
    ALIGNED | {'filename': '\u00e9-1.jpg'},
    ALIGNED | {'filename': 'e\u0301-1.jpg'},
  )
  assert second.reason == 'the name of an earlier picture'
  # JSON's own members, of which readers usually keep the last.
  entry = json.dumps(RAW)
  text = '{' + ', '.join(f'"a-1.jpg": {entry}' for _ in range(2)) + '}'
  assert [type(each) for each in listing.parse_raw(text.encode())] == [
    *(listing.Raw, records.Rejected)
  ]
  entries = json.dumps([ALIGNED])
  other = json.dumps([ALIGNED | {'filename': 'celeb_a-2.jpg'}])
  text = f'{{"celeb_a": {entries}, "celeb_a": {other}}}'
  assert [e.filename for e in listing.parse_aligned(text.encode())] == [
    *('celeb_a-1.jpg', 'celeb_a-2.jpg')
  ]


def test_pictures_of_a_person_come_together():
  names = ['b-1.jpg', 'a-1.jpg', 'b-2.jpg', 'nobody.jpg', 'a-2.jpg']
  found = listing.parse_raw(json.dumps(dict.fromkeys(names, RAW)).encode())
  assert [each.filename for each in found] == [
    *('b-1.jpg', 'b-2.jpg', 'a-1.jpg', 'a-2.jpg', 'nobody.jpg')
  ]
  assert found[-1].reason == 'no identity'


ANYTHING = st.recursive(
  st.none()
  | st.booleans()
  | st.integers()
  | st.floats()
  | st.text(max_size=8)
  | st.sampled_from([10**400, -1, 1e300, '../x', 'a-1.jpg']),
  lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(
      st.sampled_from([*ALIGNED, *RAW, 'x', 'y', 'w', 'h']) | st.text(),
      inner,
      max_size=5,
    )
  ),
  max_leaves=10,
)


def _nearly(entry):
  """Entries with some members replaced by anything, or missing."""
  changes = st.dictionaries(st.sampled_from(sorted(entry)), ANYTHING)
  return changes.map(
    lambda new: {k: v for k, v in (entry | new).items() if v != ''}
  )


ENTRIES = {
  listing.parse_aligned: st.dictionaries(
    st.text(max_size=5),
    st.lists(_nearly(ALIGNED) | ANYTHING, max_size=4),
    max_size=4,
  ),
  listing.parse_raw: st.dictionaries(
    st.sampled_from(['a-1.jpg', 'a-2.jpg', 'b-1.jpg', '../c-1.jpg'])
    | st.text(max_size=8),
    _nearly(RAW) | ANYTHING,
    max_size=4,
  ),
}


@pytest.mark.parametrize('parse', ENTRIES)
@hypothesis.given(data=st.data())
def test_every_entry_is_used_or_rejected(parse, data):
  said = data.draw(ENTRIES[parse])
  # A lone surrogate is no text that UTF-8 has, but one that JSON has.
  found = parse(json.dumps(said).encode('ascii'))
  number = len(said)
  if parse is listing.parse_aligned:
    number = sum(map(len, said.values()))
  assert len(found) == number
  used = [each for each in found if not isinstance(each, records.Rejected)]
  assert len({each.filename for each in used}) == len(used)
  for each in used:
    assert listing.is_plain(each.filename) and '/' not in each.filename
    assert each.identity and each.identity.encode()
    numbers = (
      [*each.eyes, *each.boxes]
      if isinstance(each, listing.Aligned)
      else [*each.face.eyes, (each.face.x, each.face.width)]
    )
    assert all(abs(value) <= 1e5 for pair in numbers for value in pair)
  for each in set(found) - set(used):
    assert each.reason and '\n' not in each.reason
    json.dumps([each.identity, each.filename]).encode('utf-8')


@pytest.mark.parametrize('parse', ENTRIES)
@hypothesis.given(said=ANYTHING)
def test_other_json_is_refused(parse, said):
  hypothesis.assume(not isinstance(said, dict))
  with pytest.raises(InputError) as error:
    parse(json.dumps(said).encode('ascii'))
  assert '\n' not in str(error.value)


@hypothesis.given(data=st.binary(max_size=50))
def test_other_bytes_are_refused(data):
  try:
    listing.parse_aligned(data)
  except InputError as error:
    assert '\n' not in str(error)
