import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack, Reconstruction, StructureImage

GRID = PixelGrid((5, 7), 160.0, (320.0, 480.0))
MOVIE = np.random.default_rng(0).integers(0, 4000, (130, 5, 7)).astype(np.uint16)


class CountingSource:
    """A lazy source that remembers how much was read."""

    def __init__(self, data):
        self.data = data
        self.shape = data.shape
        self.n_read = 0

    def __getitem__(self, key):
        part = self.data[key]
        self.n_read += part.size
        return part


def test_mean_over_chunks_is_the_mean_of_all_frames():
    mean = ImageStack(MOVIE, GRID).mean()
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, MOVIE.mean(axis=0), rtol=1e-6)


def test_mean_of_a_long_bright_movie_does_not_lose_counts():
    movie = np.full((3000, 1, 1), 1_000_001.0, np.float32)
    movie[::2] += 1.0
    assert ImageStack(movie, PixelGrid((1, 1), 1.0)).mean()[0, 0] == 1_000_001.5


@given(st.integers(1, 140))
def test_chunks_cover_every_frame_once_in_order(n_frames):
    runs = list(ImageStack(MOVIE, GRID).chunks(n_frames))
    assert all(len(frames) <= n_frames for _, frames in runs)
    assert [t for s, _ in runs for t in range(s.start, s.stop)] == list(range(130))
    np.testing.assert_array_equal(np.concatenate([frames for _, frames in runs]), MOVIE)


def test_select_reads_the_region_and_moves_the_grid():
    part = ImageStack(MOVIE, GRID, frame_interval_s=0.05).select(slice(10, 90), (2, 1, 4, 3))
    assert part.n_frames == 80
    assert part.frame_interval_s == 0.05
    assert part.grid == GRID.crop(1, 2, 3, 4)
    np.testing.assert_array_equal(part.load(), MOVIE[10:90, 1:4, 2:6])
    np.testing.assert_array_equal(part.load(slice(5, 7)), MOVIE[15:17, 1:4, 2:6])


def test_a_selection_of_a_selection_is_the_inner_region():
    stack = ImageStack(MOVIE, GRID)
    inner = stack.select(slice(10, 90), (1, 1, 5, 4)).select(slice(3, 8), (2, 1, 2, 3))
    np.testing.assert_array_equal(inner.load(), MOVIE[13:18, 2:5, 3:5])
    assert inner.grid == GRID.crop(2, 3, 3, 2)


def test_select_reads_nothing_and_load_only_what_was_asked():
    source = CountingSource(MOVIE)
    part = ImageStack(source, GRID).select(slice(20, 60), (0, 0, 3, 2))
    assert source.n_read == 0
    part.load(slice(0, 4))
    assert source.n_read == 4 * 3 * 2


def test_frames_may_count_from_the_end_and_beyond_it():
    stack = ImageStack(MOVIE, GRID)
    np.testing.assert_array_equal(stack.select(slice(-3, None)).load(), MOVIE[-3:])
    assert stack.select(slice(100, 900)).n_frames == 30


@pytest.mark.parametrize(
    "roi", [(-1, 0, 2, 2), (0, -1, 2, 2), (6, 0, 2, 2), (0, 4, 2, 2), (0, 0, 0, 2), (0, 0, 2, -1)]
)
def test_a_region_outside_the_field_is_refused_with_the_limits(roi):
    with pytest.raises(InputError, match=r"outside the 7×5 field.*x \+ width ≤ 7"):
        ImageStack(MOVIE, GRID).select(roi=roi)


@pytest.mark.parametrize("frames", [slice(5, 6), slice(9, 3), slice(500, 600)])
def test_fewer_than_two_frames_are_refused(frames):
    with pytest.raises(InputError, match="fewer than 2"):
        ImageStack(MOVIE, GRID).select(frames)


def test_every_kth_frame_is_read_alone_and_the_interval_grows():
    source = CountingSource(MOVIE)
    odd = ImageStack(source, GRID, frame_interval_s=0.05).select(slice(1, 90, 3))
    assert odd.n_frames == 30
    assert odd.frame_interval_s == pytest.approx(0.15)
    assert source.n_read == 0
    np.testing.assert_array_equal(odd.load(slice(4, 6)), MOVIE[13:19:3])
    assert source.n_read == 2 * MOVIE[0].size
    assert ImageStack(MOVIE, GRID).select(slice(None, None, 2)).frame_interval_s is None


@given(data=st.data())
def test_steps_of_steps_are_those_of_an_array(data):
    bound, step = st.none() | st.integers(-120, 120), st.integers(1, 7)
    outer, inner = (data.draw(st.builds(slice, bound, bound, step)) for _ in range(2))
    expected = MOVIE[outer][inner]
    assume(len(MOVIE[outer]) >= 2)
    part = ImageStack(MOVIE, GRID).select(outer)
    np.testing.assert_array_equal(part.data[inner], expected)
    assume(len(expected) >= 2)
    np.testing.assert_array_equal(part.select(inner).load(), expected)


@pytest.mark.parametrize("step", [-1, -3])
def test_time_does_not_run_backwards(step):
    with pytest.raises(InputError, match=f"got a step of {step}"):
        ImageStack(MOVIE, GRID).select(slice(None, None, step))


def test_a_region_is_sliced_like_an_array():
    part = ImageStack(MOVIE, GRID).select(slice(10, 90), (2, 1, 4, 3)).data
    expected = MOVIE[10:90, 1:4, 2:6]
    np.testing.assert_array_equal(part[1:30:3, 1:, -2:], expected[1:30:3, 1:, -2:])
    np.testing.assert_array_equal(part[70:200], expected[70:200])
    assert part[9:3].shape == expected[9:3].shape


def test_a_stack_must_be_a_movie_on_its_grid():
    with pytest.raises(ShapeError, match="three axes"):
        ImageStack(MOVIE[0], GRID)
    with pytest.raises(ShapeError, match="at least 2 frames"):
        ImageStack(MOVIE[:1], GRID)
    with pytest.raises(ShapeError, match="grid is"):
        ImageStack(MOVIE, PixelGrid((7, 5), 160.0))


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_a_density_must_be_finite_and_non_negative(bad):
    density = np.zeros((5, 7), np.float32)
    density[2, 3] = bad
    with pytest.raises(InputError, match="finite and non-negative"):
        StructureImage(density, GRID)


def test_a_density_must_fit_its_grid():
    with pytest.raises(ShapeError, match="does not fit grid"):
        StructureImage(np.zeros((7, 5), np.float32), GRID)


@pytest.mark.parametrize("name", ["mean", "std", "p_value"])
def test_every_map_of_a_reconstruction_must_fit_its_grid(name):
    maps = {"mean": np.zeros((5, 7), np.float32), name: np.zeros((7, 5), np.float32)}
    with pytest.raises(ShapeError, match=f"{name} .*does not fit grid"):
        Reconstruction(grid=GRID, **maps)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (MOVIE.tolist(), r"must be an array \(T, Y, X\), got list; give numpy.array"),
        (MOVIE.astype(complex), "real numbers, got complex128"),
        (MOVIE.astype(object), "real numbers, got object"),
        (MOVIE.astype(str), "real numbers, got <U"),
        (np.ma.masked_equal(MOVIE, MOVIE[0, 0, 0]), "masked values"),
    ],
)
def test_what_is_no_movie_of_counts_is_refused(data, message):
    with pytest.raises(InputError, match=message):
        ImageStack(data, GRID)


@pytest.mark.parametrize("kind", ["?", "u1", ">u2", "i4", "u8", "f2", ">f4", "f8"])
def test_counts_of_any_type_are_read(kind):
    np.testing.assert_array_equal(
        ImageStack((MOVIE % 2).astype(kind), GRID).load(slice(3, 5)), MOVIE[3:5] % 2
    )


def test_the_grid_of_a_movie_is_a_pixel_grid():
    with pytest.raises(InputError, match=r"must be of type PixelGrid, got float; give PixelGrid"):
        ImageStack(MOVIE, 160.0)
