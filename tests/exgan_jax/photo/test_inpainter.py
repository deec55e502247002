"""Photograph in, photograph out, with a model that has learnt nothing."""

import json

import drawn
import numpy as np
import pytest
from PIL import Image

from exgan_jax.errors import InputError
from exgan_jax.photo import faces, photograph, reader
from exgan_jax.photo import files as files_lib
from exgan_jax.photo.inpainter import Inpainter
from exgan_jax.photo.result import PAINTED
from exgan_jax.photo.selection import Options

BLINKED, OPEN = (5, 0, True), (5, 1, False)


@pytest.fixture(scope='module')
def painters():
  return {preset: drawn.painter(preset) for preset in ('transfer', 'code')}


@pytest.fixture
def finder():
  return drawn.Finder()


@pytest.fixture
def inpainter(painters, finder):
  return Inpainter(painters['transfer'], finder)


class Embedding:
  """Takes everybody for the same person."""

  same_person = 0.5

  def __call__(self, image, points):
    return np.ones(1)


def _boxes(face, share=0.35):
  """What lies so near to an eye of a photograph that it may change."""

  def inside(shape):
    rows, columns = np.indices(shape[:2])
    reach = share * face.width
    near = [
      (abs(columns - x) < reach) & (abs(rows - y) < reach) for x, y in face.eyes
    ]
    return near[0] | near[1]

  return inside


@pytest.mark.parametrize('preset', ['transfer', 'code'])
def test_paints_the_eyes_and_nothing_else(painters, finder, preset):
  photo = finder.draw((200, 220), BLINKED)
  reference = finder.draw((201, 221), OPEN)
  result = Inpainter(painters[preset], finder)(photo, reference)
  assert result.dtype == np.uint8 and result.shape == photo.shape
  changed = (result != photo).any(axis=-1)
  (face,) = finder.faces[200, 220]
  assert changed.any() and not (changed & ~_boxes(face)(photo.shape)).any()
  for x, y in face.eyes:
    near = slice(round(y) - 4, round(y) + 4), slice(round(x) - 4, round(x) + 4)
    assert changed[near].all()


def test_what_is_painted_follows_the_reference(inpainter, finder):
  photo = finder.draw((200, 220), BLINKED)
  one = inpainter(photo, finder.draw((201, 221), OPEN))
  other = inpainter(photo, finder.draw((202, 222), (8, 1, False)))
  assert (one != other).any()


def _aligned(finder, size, person):
  image = finder.draw(size, person)
  photo = photograph.from_array(image)
  return photo, faces.align_face(photo, image, finder.faces[size][0])


def _batch_of(painter, *arguments):
  """What a painter gives its network."""
  batches, inner = [], painter._fields
  painter._fields = lambda model, batch: (
    batches.append(batch) or inner(model, batch)
  )
  painter(*arguments)
  painter._fields = inner
  return batches[0]


def test_closed_eyes_are_painted_where_irises_would_be(painters, finder):
  photo, aligned = _aligned(finder, (200, 220), BLINKED)
  _, eyes, _ = aligned.at(32)
  batch = _batch_of(painters['transfer'], photo, aligned, aligned)
  moved = eyes - batch['eyes'][0]
  assert (moved[:, 0] == 0).all() and (moved[:, 1] > 0.2).all()


def test_the_corners_are_told_of_both_faces(painters, finder):
  photo, face = _aligned(finder, (200, 220), BLINKED)
  _, reference = _aligned(finder, (201, 221), OPEN)
  painter = painters['transfer']
  batch = _batch_of(painter, photo, face, reference)
  names = ('corners', 'reference_corners')
  for each, name in zip((face, reference), names, strict=True):
    _, _, matrix = each.at(painter.config.resolution)
    expected = [matrix @ [*corner, 1] for corner in each.face.corners]
    np.testing.assert_allclose(batch[name], [expected], rtol=1e-5)


def test_open_eyes_are_left_alone_unless_forced(inpainter, finder):
  photo = finder.draw((200, 220), (5, 2, False))
  reference = finder.draw((201, 221), OPEN)
  with pytest.raises(InputError, match=r'look open.*--force'):
    inpainter(photo, reference)
  assert (inpainter(photo, reference, force=True) != photo).any()


def test_which_of_several_faces(inpainter, finder):
  photo = finder.draw((200, 500), BLINKED, (8, 0, True), (9, 1, False))
  reference = finder.draw((201, 221), OPEN)
  ours = inpainter.candidates([reference])
  picture = photograph.from_array(photo)

  def done(**options):
    result = inpainter.open_eyes(picture, ours, Options(**options))
    return [found.done == PAINTED for found in result.faces]

  assert done() == [False, False, False]
  # Two people would get the eyes of one.
  assert done(all_faces=True) == [False, False, False]
  assert done(face=2) == [False, True, False]
  assert done(face=3) == [False, False, False]
  assert done(face=3, force=True) == [False, False, True]
  with pytest.raises(
    InputError, match='faces 1, 2 have closed eyes: choose one with --face N'
  ):
    inpainter(photo, reference)
  with pytest.raises(InputError, match='--face 4: only 3'):
    done(face=4)
  with pytest.raises(InputError, match='either --face or'):
    Options(face=1, all_faces=True)


def test_says_why_nothing_is_painted(inpainter, finder):
  photo = finder.draw((200, 220), BLINKED)
  nobody = finder.draw((120, 130))
  with pytest.raises(InputError, match='no face was found in the photo'):
    inpainter(nobody, photo)
  with pytest.raises(InputError, match='no face was found in the reference'):
    inpainter(photo, nobody)
  with pytest.raises(InputError, match='no reference shows this person'):
    inpainter(photo, finder.draw((201, 221), (5, 2, True)))
  small = finder.draw((202, 222), BLINKED, side=64)
  finder.faces[202, 222] = [
    faces.moved(f, np.array([[0.4, 0, 0], [0, 0.4, 0]]))
    for f in finder.faces[202, 222]
  ]
  with pytest.raises(InputError, match='smaller than 32 px'):
    inpainter(small, finder.draw((203, 223), OPEN))
  aside = finder.faces[200, 220][0]
  x, y = aside.eyes[0]
  finder.faces[200, 220] = [
    type(aside)(**{**vars(aside), 'eyes': ((x, y), (x + 5, y))})
  ]
  with pytest.raises(InputError, match='seen from the side'):
    inpainter(photo, finder.draw((203, 223), OPEN))


def test_every_pixel_outside_is_kept_in_every_kind_of_file(
  inpainter, finder, tmp_path
):
  photo = finder.draw((200, 220), BLINKED)
  finder.draw((201, 221), OPEN)
  alpha = np.full((200, 220, 1), 255, np.uint8)
  kinds = {
    'rgb': photo, 'rgba': np.concatenate([photo, alpha], axis=-1),
    'grey': photo[..., 1],
  }  # fmt: skip
  candidates = inpainter.candidates([finder.draw((201, 221), OPEN)])
  near = _boxes(finder.faces[200, 220][0])(photo.shape)
  for name, pixels in kinds.items():
    path = tmp_path / f'{name}.png'
    Image.fromarray(pixels).save(path)
    picture = reader.read(path)
    result = inpainter.open_eyes(picture, candidates)
    changed = (result.photograph.pixels != picture.pixels).any(axis=-1)
    assert changed.any() and not changed[~near].any(), name


@pytest.fixture
def files(finder, tmp_path):
  """A folder of photographs and one of references, on disk."""
  photos, references = tmp_path / 'photos', tmp_path / 'references'
  (photos / 'more').mkdir(parents=True)
  references.mkdir()
  for folder, name, size, *people in (
    (photos, 'one.png', (200, 220), BLINKED),
    (photos / 'more', 'two.png', (202, 222), (8, 0, True)),
    (photos, 'awake.png', (204, 224), (5, 2, False)),
    (photos, 'nobody.png', (206, 226)),
    (references, 'open.png', (201, 221), OPEN),
  ):
    Image.fromarray(finder.draw(size, *people)).save(folder / name)
  (photos / 'broken.jpg').write_text('not a picture')
  (photos / 'notes.txt').write_text('no picture')
  (references / 'broken.jpg').write_text('not a picture')
  return tmp_path


def test_one_file(inpainter, files):
  files_lib.inpaint_file(
    inpainter, files / 'photos' / 'one.png', [files / 'references'],
    files / 'out.png', compare=files / 'compare.png',
  )  # fmt: skip
  before, after = (
    np.asarray(Image.open(path))
    for path in (files / 'photos' / 'one.png', files / 'out.png')
  )
  assert before.shape == after.shape and (before != after).any()
  # Three columns of 256 px and their captions.
  with Image.open(files / 'compare.png') as sheet:
    assert sheet.width > 768


def test_candidates_to_choose_from(inpainter, finder, files):
  references = files / 'references'
  for number, person in enumerate(((5, 2, False), (8, 2, False))):
    image = finder.draw((211 + number, 221), person)
    Image.fromarray(image).save(references / f'more{number}.png')
  results = files_lib.inpaint_file(
    inpainter, files / 'photos' / 'one.png', [references], files / 'out.png',
    candidates=5, compare=files / 'compare.png', numbered=files / 'faces.png',
  )  # fmt: skip
  scores = [result.painted[0].choice.score for result in results]
  assert len(scores) == 3 and scores == sorted(scores, reverse=True)
  written = sorted(path.name for path in files.glob('out*'))
  assert written == ['out-2.png', 'out-3.png', 'out.png']
  assert len({(files / name).read_bytes() for name in written}) == 3
  with Image.open(files / 'faces.png') as drawn:
    photo = Image.open(files / 'photos' / 'one.png')
    assert drawn.size == photo.size
    assert (np.asarray(drawn) != np.asarray(photo)).any()


def test_the_numbered_faces_are_there_if_nothing_is_painted(
  inpainter, finder, files
):
  photo = files / 'two.png'
  Image.fromarray(
    finder.draw((300, 500), BLINKED, (8, 0, True))
  ).save(photo)  # fmt: skip
  with pytest.raises(InputError, match='faces 1, 2 have closed eyes'):
    files_lib.inpaint_file(
      inpainter, photo, [files / 'references'], files / 'o.png',
      numbered=files / 'faces.png',
    )  # fmt: skip
  assert (files / 'faces.png').exists()


def test_says_when_nothing_tells_who_is_who(
  painters, inpainter, finder, files, caplog
):
  photo, folder = files / 'photos' / 'one.png', files / 'references'
  output = files / 'out.png'

  def warned(inpainter, reference):
    caplog.clear()
    files_lib.inpaint_file(inpainter, photo, [reference], output)
    return 'people can only be told apart' in caplog.text

  assert warned(inpainter, folder)
  assert not warned(inpainter, folder / 'open.png')
  telling = Inpainter(painters['transfer'], finder, Embedding())
  assert not warned(telling, folder)


def test_no_input_is_ever_written_over(inpainter, files):
  photo, reference = files / 'photos' / 'one.png', files / 'references'
  for target in (photo, reference / 'open.png'):
    before = target.read_bytes()
    with pytest.raises(InputError, match='is an input'):
      files_lib.inpaint_file(inpainter, photo, [reference], target)
    with pytest.raises(InputError, match='is an input'):
      files_lib.inpaint_file(
        inpainter, photo, [reference], files / 'o.png', compare=target
      )
    assert target.read_bytes() == before
    with pytest.raises(InputError, match='are the same file'):
      files_lib.inpaint_file(
        inpainter, photo, [reference], files / 'o.png',
        compare=files / 'photos' / '..' / 'o.png',
      )  # fmt: skip
  assert not (files / 'o.png').exists()


@pytest.mark.parametrize(
  ('output', 'message'),
  [
    ('o.gif', 'should end in'),
    ('none/o.png', 'folder does not exist'),
    ('o', 'end in'),
  ],
)
def test_outputs_that_cannot_be(inpainter, files, output, message):
  with pytest.raises(InputError, match=message):
    files_lib.inpaint_file(
      inpainter, files / 'photos' / 'one.png', [files / 'references'],
      files / output,
    )  # fmt: skip


def test_a_named_reference_must_be_a_picture(inpainter, files):
  with pytest.raises(InputError, match=r'broken\.jpg: not a picture'):
    files_lib.inpaint_file(
      inpainter, files / 'photos' / 'one.png',
      [files / 'references' / 'broken.jpg'], files / 'o.png',
    )  # fmt: skip


def test_a_folder_at_once(inpainter, files):
  counts = files_lib.inpaint_folder(
    inpainter, files / 'photos', [files / 'references'], files / 'out',
    compare=files / 'sheets',
  )  # fmt: skip
  assert counts == files_lib.Tally(faces=2, changed=2, failed=1, photos=5)
  lines = (files / 'out' / files_lib.LOG).read_text().splitlines()
  told = {line['photograph']: line for line in map(json.loads, lines)}
  assert list(told) == [
    'awake.png', 'broken.jpg', 'more/two.png', 'nobody.png', 'one.png',
  ]  # fmt: skip
  assert told['broken.jpg']['done'] == 'not a picture'
  assert told['nobody.png']['done'] == 'no face'
  assert told['awake.png']['done'] == 'the eyes look open'
  one = told['one.png']
  assert one['done'] == 'painted' and one['face'] == 1
  assert one['closed_before'] == 0.75 and one['closed_after'] == 0.1
  assert one['reference'].endswith('open.png')
  assert one['chosen_by']['told_by'] == 'you'
  written = sorted(p.name for p in (files / 'out').rglob('*.png'))
  assert written == ['one.png', 'two.png']
  assert (files / 'sheets' / 'more' / 'two.png').exists()


def test_a_folder_loses_neither_references_nor_results(
  inpainter, finder, files
):
  photos, references = files / 'photos', files / 'references'
  same = references / 'one.png'
  Image.fromarray(finder.draw((201, 221), OPEN)).save(same)
  before = same.read_bytes()
  for where in ({'output': references}, {'compare': references}):
    folders = {'output': files / 'out', **where}
    with pytest.raises(
      InputError, match='is a reference and would be overwritten'
    ):
      files_lib.inpaint_folder(inpainter, photos, [references], **folders)
  assert same.read_bytes() == before
  same.unlink()
  # One name, three kinds of files, of which one cannot be written.
  for suffix in ('.bmp', '.webp'):
    with Image.open(photos / 'one.png') as image:
      image.save(photos / f'one{suffix}', lossless=True)
  files_lib.inpaint_folder(
    inpainter, photos, [references], files / 'out', compare=files / 'sheets'
  )
  ours = sorted(p.name for p in (files / 'out').glob('one*'))
  assert ours == ['one.bmp.png', 'one.png', 'one.webp']
  sheets = sorted(p.name for p in (files / 'sheets').glob('one*'))
  assert sheets == ['one.bmp.png', 'one.png', 'one.webp.png']


def test_results_stay_out_of_the_folder_of_photographs(inpainter, files):
  photos = files / 'photos'
  with pytest.raises(InputError, match='is in'):
    files_lib.inpaint_folder(
      inpainter, photos, [files / 'references'], photos / 'out'
    )
  empty = files / 'empty'
  empty.mkdir()
  with pytest.raises(InputError, match='no picture in'):
    files_lib.list_pictures([empty])
  with pytest.raises(InputError, match='no picture at'):
    files_lib.list_pictures([files / 'none'])
