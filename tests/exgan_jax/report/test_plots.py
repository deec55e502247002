"""Plots of metrics over training steps."""

import dataclasses
import re
from xml.etree import ElementTree

from exgan_jax.evaluation.results import Results
from exgan_jax.report import plots
from exgan_jax.report.tables import Summary

ONE = Results(
  *('code', 0, 'synth_id', 'test', 64, 9, 'next-image', {}, {}, {}, {})
)


def _at(model, step, interval=None, **metrics):
  intervals = {'model': {'l1': interval}} if interval else {}
  return dataclasses.replace(
    ONE, model=model, step=step, metrics=metrics, intervals=intervals
  )


def _lines(svg):
  return re.findall(r'<g class="(line-\d)">', svg)


def test_a_metric_has_a_plot_where_a_model_has_it_at_two_steps():
  found = [
    _at('code', 100, l1=0.3, l1_hole=0.2),
    _at('code', 200, l1=0.2, ms_ssim=0.1),
    _at('gan', 200, l1=0.3, ms_ssim=0.1, l1_hole=0.5),
    _at('gan', 300, ms_ssim=0.1, code_distance_swapped=3.0),
    _at('gan', 400, ms_ssim=0.1, code_distance_swapped=2.0),
  ]
  made = plots.make_plots(found, ['gan', 'code'])
  assert [plot.column.metric for plot in made] == ['l1', 'ms_ssim']
  for plot in made:
    assert _lines(plot.svg) == ['line-0', 'line-1']
    assert plots.color(0) in plot.svg and plots.color(1) in plot.svg
  assert plots.make_plots(found[:1], ['code']) == []


def test_more_models_than_colours_take_them_again():
  points = {index: [(1, Summary(1, 1)), (2, Summary(2, 1))] for index in (0, 6)}
  svg = plots.draw(points, 'x')
  assert len(_lines(svg)) == 2
  assert plots.color(0) == plots.color(6) and plots.dash(0) != plots.dash(6)


def test_runs_of_a_model_share_a_line_in_a_band():
  found = [_at('code', step, l1=x) for step in (1, 2) for x in (0.1, 0.2)]
  (alone,) = plots.make_plots([found[0], found[2]], ['code'])
  (both,) = plots.make_plots(found, ['code'])
  assert len(_lines(both.svg)) == len(_lines(alone.svg)) == 1
  assert 'fill-opacity' in both.svg and 'fill-opacity' not in alone.svg
  sure = [_at('code', step, [0.1, 0.3], l1=0.2) for step in (1, 2)]
  (plot,) = plots.make_plots(sure, ['code'])
  assert 'fill-opacity' in plot.svg


def test_a_plot_takes_font_and_colours_from_the_page():
  points = {0: [(1000, Summary(0.1, 1)), (20000, Summary(0.1, 1))]}
  svg = plots.draw(points, 'x')
  assert 'currentColor' in svg and 'font-family' not in svg
  assert not re.search(r'#[0-9a-f]{6}\b(?!")', svg.replace('xlink:href="#', ''))
  root = ElementTree.fromstring(svg)
  assert root.get('width') is None
  assert root.get('viewBox') == f'0 0 {plots.WIDTH} {plots.HEIGHT}'
  assert '20k' in ''.join(root.itertext())


def test_plots_on_a_page_share_no_id():
  points = {0: [(1, Summary(0.1, 1)), (2, Summary(0.1, 1))]}
  one, same, other = (plots.draw(points, name) for name in 'aab')
  ids = [set(re.findall(r' id="([^"]*)"', svg)) for svg in (one, other)]
  assert ids[0] and not ids[0] & ids[1]
  assert one == same
