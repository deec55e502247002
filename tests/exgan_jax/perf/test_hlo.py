"""What is read from programs' texts, on some that were written by hand."""

import textwrap

import pytest

from exgan_jax.perf import hlo, hlo_costs
from exgan_jax.perf.hlo_costs import Collective


def _program(body, more='', devices=8):
  """A program whose entry computation has the lines of `body`."""
  entry = textwrap.indent(textwrap.dedent(body).strip(), '  ')
  more = textwrap.dedent(more).strip()
  return hlo.parse(
    f'HloModule jit_step, is_scheduled=true, num_partitions={devices}\n\n'
    f'{more}\n\nENTRY %main (p: f32[4]) -> f32[4] {{\n{entry}\n}}\n'
  )


def _collectives(body, more='', devices=8):
  return hlo_costs.collectives(_program(body, more, devices))


def test_a_tuple_is_one_message():
  found = _collectives("""
    %p = f32[4,2]{1,0:T(8,128)} parameter(0)
    %q = bf16[3]{0:T(256)(128)(2,1)S(1)} parameter(1)
    %sum = (f32[4,2]{1,0:T(8,128)}, bf16[3]{0:T(256)(128)(2,1)S(1)}, pred[]{:T(512)}, /*index=3*/f32[]{:T(128)}) all-reduce(%p, %q, %r, %s), channel_id=1, replica_groups={}, to_apply=%add
  """)  # noqa: E501
  assert found == [Collective('all-reduce', 8, 1, 32 + 6 + 1 + 4)]


def test_what_starts_and_is_done_is_one_message():
  found = _collectives("""
    %p = f32[4]{0} parameter(0)
    %r = f32[4]{0} all-reduce-start(%p), channel_id=1, replica_groups={{0,1},{2,3},{4,5},{6,7}}, to_apply=%add
    %r.1 = f32[4]{0} all-reduce-done(%r)
    %g = (f32[4]{0}, f32[16]{0}) all-gather-start(%p), channel_id=2, replica_groups=[2,4]<=[8], dimensions={0}
    %g.1 = f32[16]{0} all-gather-done(%g)
    %h = ((f32[4]{0}, s32[2]{0}), (f32[16]{0}, s32[8]{0}), u32[]{:S(2)}) all-gather-start(%p, %q), channel_id=3, replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}
    %h.1 = (f32[16]{0}, s32[8]{0}) all-gather-done(%h)
    %c = (f32[4]{0}, f32[4]{0}, u32[], u32[]) collective-permute-start(%p), channel_id=4, source_target_pairs={{0,1},{1,0}}
    %c.1 = f32[4]{0} collective-permute-done(%c)
    %s = f32[1]{0} reduce-scatter(%p), channel_id=5, replica_groups=[2,4]<=[8], dimensions={0}, to_apply=%add
  """)  # noqa: E501
  assert found == [
    Collective('all-gather', 4, 2, 64 + 64 + 32),
    Collective('all-reduce', 2, 1, 16),
    Collective('collective-permute', 8, 1, 16),
    Collective('reduce-scatter', 4, 1, 16),
  ]


def test_asynchronous_calls_count_once():
  found = _collectives(
    """
    %p = f32[4]{0} parameter(0)
    %start = ((f32[4]{0}), f32[1]{0}, u32[]) async-start(%p), calls=%wrapped
    %update = ((f32[4]{0}), f32[1]{0}, u32[]) async-update(%start), calls=%wrapped
    %done = f32[1]{0} async-done(%update), calls=%wrapped
    """,  # noqa: E501
    """
    %wrapped (p: f32[4]) -> f32[1] {
      %p.1 = f32[4]{0} parameter(0)
      ROOT %s = f32[1]{0} reduce-scatter(%p.1), channel_id=1, replica_groups=[2,4]<=[8], to_apply=%add
    }
    """,  # noqa: E501
  )
  assert found == [Collective('reduce-scatter', 4, 1, 16)]


LOOP = """
  %body (t: (s32[], f32[4])) -> (s32[], f32[4]) {
    %t = (s32[], f32[4]{0}) parameter(0)
    %x = f32[4]{0} get-tuple-element(%t), index=1
    %r = f32[4]{0} all-reduce(%x), channel_id=1, to_apply=%add
    ROOT %next = (s32[], f32[4]{0}) tuple(%i, %r)
  }

  %condition (t.1: (s32[], f32[4])) -> pred[] {
    %limit = s32[]{:T(128)} constant(5)
    %t.1 = (s32[], f32[4]{0}) parameter(0)
    %i.1 = s32[] get-tuple-element(%t.1), index=0
    ROOT %less = pred[]{:T(512)} compare(%i.1, %limit), direction=LT
  }
"""


@pytest.mark.parametrize(
  ('noted', 'limit', 'times'),
  [
    ('', 'constant(5)', 5),
    (
      ', backend_config={"known_trip_count":{"n":"7"},"x":{}}',
      'constant(5)',
      7,
    ),
    ('', 'parameter(1)', 1),
  ],
)
def test_a_loop_counts_as_often_as_it_runs(noted, limit, times):
  found = _collectives(
    f"""
    %p = (s32[], f32[4]{{0}}) parameter(0)
    %w = (s32[], f32[4]{{0}}) while(%p), condition=%condition, body=%body{noted}
    """,
    LOOP.replace('constant(5)', limit),
  )
  assert found == [Collective('all-reduce', 8, times, times * 16)]


def test_every_branch_counts():
  branch = """
    %{0} (x.{0}: f32[2]) -> f32[2] {{
      %x.{0} = f32[2]{{0}} parameter(0)
      ROOT %y.{0} = f32[2]{{0}} all-reduce(%x.{0}), to_apply=%add
    }}
  """
  found = _collectives(
    """
    %p = f32[2]{0} parameter(0)
    %c = f32[2]{0} conditional(%i, %p, %p), branch_computations={%a, %b}
    """,
    textwrap.dedent(branch.format('a')) + textwrap.dedent(branch.format('b')),
  )
  assert found == [Collective('all-reduce', 8, 2, 16)]


def test_one_channel_in_several_fusions_is_one_message():
  fusion = """
%{0} (x.{0}: f32[2]) -> f32[8] {{
  %x.{0} = f32[2]{{0}} parameter(0)
  ROOT %y.{0} = f32[8]{{0}} {1}(%x.{0}), channel_id=3, replica_groups=mesh['axis_0'=2,'axis_1'=4] {{'axis_1'}}, dimensions={{0}}
}}
"""  # noqa: E501
  names = ('async_collective_fusion.1', 'async_collective_fusion.2')
  calls = """
    %p = f32[2]{{0}} parameter(0)
    %a = f32[8]{{0}} fusion(%p), kind=kCustom, calls=%{}
    %b = f32[8]{{0}} fusion(%p), kind=kCustom, calls=%{}
  """
  found = _collectives(
    calls.format(*names),
    ''.join(fusion.format(name, 'all-gather') for name in names),
  )
  assert found == [Collective('all-gather', 4, 1, 32)]
  # Those that the TPU's compiler makes of sums and slices share channels.
  names = ('all-reduce-scatter.1', 'all-reduce-scatter.2')
  found = _collectives(
    calls.format(*names),
    ''.join(fusion.format(name, 'all-reduce') for name in names),
  )
  assert found == [Collective('reduce-scatter', 4, 2, 64)]


@pytest.mark.parametrize(
  ('groups', 'devices'),
  [
    ('{}', 8),
    ('{{0,1,2,3},{4,5,6,7}}', 4),
    ('[4,2]<=[8]', 2),
    ("mesh['a'=2,'b'=4] {'a','b'}", 8),
    ("mesh['a'=1,'b'=8], device_ids=([2,4]T(1,0)) {'a'}", 1),
    ("mesh['a'=2,'b'=4] {'b':(2)2}", 2),
  ],
)
def test_who_exchanges_messages(groups, devices):
  (found,) = _collectives(
    f'%r = f32[] all-reduce(%p), replica_groups={groups}, to_apply=%add'
  )
  assert found.devices == devices


def test_transfers_to_the_host_do_not_cross_the_network():
  found = _collectives("""
    %s = (f32[4]{0}, u32[], token[]) send(%p, %t), channel_id=1, is_host_transfer=true
    %q = (f32[4]{0}, u32[], token[]) send(%p, %t), channel_id=2
  """)  # noqa: E501
  assert found == [Collective('send', 8, 1, 16)]


@pytest.mark.parametrize(
  ('shape', 'size', 'padded', 'is_in_hbm'),
  [
    ('f32[]{:T(128)}', 4, 512, True),
    ('pred[]{:T(512)S(6)}', 1, 512, False),
    ('f32[3,5,130]{2,1,0:T(8,128)}', 7800, 3 * 8 * 256 * 4, True),
    # The minor axis is the second one here.
    ('bf16[3,5,130]{1,2,0:T(8,128)(2,1)S(1)}', 3900, 3 * 136 * 128 * 2, False),
    ('u8[16,256,256,3]{2,1,3,0:T(32,128)(4,1)}', 3145728, 3145728, True),
    ('f8e4m3fn[10]{0}', 10, 10, True),
    ('token[]', 0, 0, True),
  ],
)
def test_size_of_an_array(shape, size, padded, is_in_hbm):
  assert (
    hlo.arrays(f'({shape}, {shape})')
    == [hlo.Array(size, padded, is_in_hbm)] * 2
  )


def test_traffic_is_what_lies_in_the_hbm():
  program = _program(
    """
    %p = f32[8,128]{1,0:T(8,128)} parameter(0)
    %start = (f32[8,128]{1,0:T(8,128)S(1)}, f32[8,128]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%p)
    %near = f32[8,128]{1,0:T(8,128)S(1)} copy-done(%start)
    %f = bf16[8,128]{1,0:T(8,128)(2,1)} fusion(%p, %near), kind=kLoop, calls=%fused
    %slice = ((f32[8,128]{1,0:T(8,128)}), f32[2,128]{1,0:T(2,128)S(1)}, s32[]{:S(2)}) async-start(%p), calls=%sliced
    %slice.1 = f32[2,128]{1,0:T(2,128)S(1)} async-done(%slice)
    %both = f32[4,128]{1,0:T(4,128)S(1)} custom-call(%slice.1, %slice.1), custom_call_target="ConcatBitcast"
    """,  # noqa: E501
    """
    %fused (x: f32[8,128], y: f32[8,128]) -> bf16[8,128] {
      %x = f32[8,128]{1,0:T(8,128)} parameter(0)
      ROOT %z = bf16[8,128]{1,0:T(8,128)(2,1)} convert(%x)
    }
    %sliced (v: f32[8,128]) -> f32[2,128] {
      %v = f32[8,128]{1,0:T(8,128)} parameter(0)
      ROOT %u = f32[2,128]{1,0:T(2,128)S(1)} slice(%v), slice={[0:2], [0:128]}
    }
    """,
  )
  copied, read, written, sliced = 4096, 4096, 2048, 1024
  assert hlo_costs.hbm_traffic(program) == copied + read + written + sliced
  # One custom call, for which the compiler takes a second off.
  assert hlo_costs.optimal_seconds({'optimal_seconds': -0.75}, program) == 0.25
  assert hlo_costs.optimal_seconds({'optimal_seconds': -1.0}, program) is None


def test_arithmetic_is_counted():
  text = """HloModule product, entry_computation_layout={(f32[2,3]{1,0}, f32[3,5]{1,0})->f32[2,5]{1,0}}

ENTRY %main (a: f32[2,3], b: f32[3,5]) -> f32[2,5] {
  %a = f32[2,3]{1,0} parameter(0)
  %b = f32[3,5]{1,0} parameter(1)
  ROOT %c = f32[2,5]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""  # noqa: E501
  assert hlo_costs.flops(text) == 2 * 2 * 3 * 5


def test_allocations_are_summed():
  text = """BufferAssignment:
allocation 0: size 512, thread-local:
 value: <5 reduce_or.8 @0> (size=512,offset=0): pred[]{:T(512)}
allocation 1: size 4096, parameter 36, shape |f32[8,128]| at ShapeIndex {}, maybe-live-out:
allocation 2: size 1024, parameter 3, shape |u8[2,4]| at ShapeIndex {}:
allocation 3: size 64, maybe-live-out:
allocation 4: size 32, output shape is |(f32[])|, maybe-live-out:
allocation 5: size 100, color 1, preallocated-temp:
allocation 6: size 200, preallocated-temp:
allocation 7: size 8, constant:
"""  # noqa: E501
  assert hlo_costs.hbm_bytes(text) == {
    'arguments': 5120,
    'outputs': 96,
    'temporaries': 720,
    'peak': 5936,
  }


@pytest.mark.parametrize('text', ['', 'HloModule empty\n'])
def test_what_is_no_program_is_refused(text):
  with pytest.raises(ValueError, match='no entry'):
    hlo.parse(text)
