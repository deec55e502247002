"""Overview and contact sheet of a built data set."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from exgan_jax import cli
from exgan_jax.data.summary import overview
from exgan_jax.data.train_batches import Records
from exgan_jax.errors import InputError


def test_statistics(synth_data):
  text = overview(synth_data, 'synth_id')
  lines = text.splitlines()
  table = {line.split()[0]: line.split()[1:] for line in lines[3:7]}
  people = [int(table[split][0]) for split in ('train', 'validation', 'test')]
  assert sum(people) == 60
  for split, count in zip(('train', 'validation', 'test'), people, strict=True):
    assert table[split][1:] == [str(3 * count), '3', 'to', '3', '1.00', '0']
  # The people held out from training have a picture with closed eyes.
  closed = people[1] + people[2]
  expected = [closed, 2 * closed, 2, 'to', 2, '0.50', 0]
  assert table['closed'] == [str(value) for value in expected]
  assert f'pictures: {180 + closed}; 180 with open eyes, {closed} with' in text
  sides = re.search(r'sides (\d+) to (\d+) px, mean ([\d.]+)', text)
  boxes = {}
  for split in table:
    records = Records(synth_data, 'synth_id', split)
    for i in range(len(records)):
      boxes[records[i].filename] = records[i].boxes
  boxes = np.stack(list(boxes.values()))
  assert int(sides[1]) == boxes.min() and int(sides[2]) == boxes.max()
  assert float(sides[3]) == pytest.approx(boxes.mean(), abs=0.05)
  assert '0 with the left one on the right' in text
  assert f'corners of the eyes: known in {180 + closed} of' in text
  assert lines[-1] == 'rejected: 0'


def test_reasons_of_rejects_are_sorted_by_count(synth_data, tmp_path):
  shutil.copytree(synth_data, tmp_path, dirs_exist_ok=True)
  (path,) = tmp_path.glob('synth_id/*/rejected.jsonl')
  reasons = ['no face', 'broken', 'broken']
  path.write_text(''.join(json.dumps({'reason': r}) + '\n' for r in reasons))
  assert overview(str(tmp_path), 'synth_id').splitlines()[-3:] == [
    *('rejected: 3', '       2 broken', '       1 no face')
  ]
  path.write_text('[' * 100_000)
  with pytest.raises(InputError, match='not a list of rejected'):
    overview(str(tmp_path), 'synth_id')
  path.unlink()
  assert overview(str(tmp_path), 'synth_id').endswith('rejected: not known')


def test_a_damaged_split_is_refused(synth_data, tmp_path):
  shutil.copytree(synth_data, tmp_path, dirs_exist_ok=True)
  (path,) = tmp_path.glob('synth_id/*/synth_id-train.array_record*')
  path.write_bytes(b'damaged')
  with pytest.raises(InputError):
    overview(str(tmp_path), 'synth_id')
  path.unlink()
  with pytest.raises(InputError, match='no split train'):
    overview(str(tmp_path), 'synth_id')


def test_the_sheet_shows_boxes_where_they_are(synth_data, tmp_path, capsys):
  path = tmp_path / 'sheet.png'
  command = ['data', '--dataset', 'synth_id', '--data-dir', synth_data]
  code = cli.main([*command, '--sheet', str(path)])
  assert code == 0 and f'picture: {path}' in capsys.readouterr().out
  sheet = np.asarray(Image.open(path)).astype(int)
  record = Records(synth_data, 'synth_id', 'train')[0]
  # The first picture starts below its caption; stored at 128, drawn at 160.
  corner = (record.eyes[0] - record.boxes[0] / 2 + 0.5) * 160 / 128 - 0.5
  x, y = np.round(corner + np.array([4, 18])).astype(int)
  near = sheet[y - 1 : y + 2, x - 1 : x + 8]
  assert (np.abs(near - [235, 70, 40]).max(axis=-1) < 3).any(axis=0).sum() >= 7


def test_bad_input_is_one_line_and_code_2(synth_data, tmp_path, capsys):
  assert cli.main(['data', '--dataset', 'x', '--data-dir', synth_data]) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('exgan: no data set x in')
