"""The drawing of the cores: each at its place, with its layer and how full it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import integer_networks
from test_measure import chain
from test_partition import image_network, loihi

from snndeploy.cli.mesh_view import EMPTY, SHADES, draw, legend
from snndeploy.errors import InputError
from snndeploy.hardware import hardware
from snndeploy.measure.placement import core_shares
from snndeploy.passes.arrange import arrange
from snndeploy.passes.partition import place, try_place
from snndeploy.program import Program

GOLDEN = """\
chip 1
a█a█a█a█ a█b█b█b█ b█b█c█·  · · · ·  · · · ·  · · · ·  · · · ·  · · · · """


def lines(program):
    return [line.plain for line in draw(program)]


def test_it_reads_as_in_the_golden_text():
    program = place(image_network(channels=4, size=20), hardware("loihi1"))
    assert legend(program) == {"first": "a", "second": "b", "out": "c"}
    assert "\n".join(lines(program)) == GOLDEN


@settings(max_examples=15, deadline=None)
@given(
    integer_networks(max_layers=3, mode="exact"),
    st.sampled_from([{}, {"cores": 8}, {"cores": 6, "cores_per_tile": 2, "tile_columns": 2}]),
)
def test_every_core_is_at_its_place(network, mesh):
    profile = loihi(neurons_per_core=60, chips=999, **mesh)
    program, misfits = try_place(network, profile)
    if misfits:
        return
    program, limits = arrange(program), profile.limits
    drawn, chip = {}, -1
    for line in lines(program):
        if line.startswith("chip"):
            chip, row = int(line.split()[1]) - 1, 0
            continue
        width = 2 * limits.cores_per_tile
        tiles = [line[i : i + width] for i in range(0, len(line), width + 1)]
        cells = [tile[i : i + 2] for tile in tiles for i in range(0, len(tile), 2)]
        first = chip * limits.cores + row * limits.cores_per_tile * limits.tile_columns
        drawn |= {first + i: cell for i, cell in enumerate(cells) if cell != EMPTY}
        row += 1
    letters, shares = legend(program), core_shares(program)
    assert {core: cell[0] for core, cell in drawn.items()} == {
        part.core: letters[part.layer] for part in program.placement
    }
    for core, (_, shade) in drawn.items():
        share = shares[core][1]
        assert SHADES.index(shade) / 4 <= share <= (SHADES.index(shade) + 1) / 4


def test_without_a_mesh_cores_stand_in_the_order_of_their_numbers():
    program = place(chain(), loihi(cores_per_tile=None, tile_columns=None))
    assert lines(program) == ["chip 1", "a░b░c░" + 29 * EMPTY]


def test_a_program_that_is_not_placed_is_refused():
    with pytest.raises(InputError, match="is not placed"):
        list(draw(Program(chain())))
