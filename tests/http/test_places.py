"""Places of one process: all together so many, and of one namespace half of them."""

from contextlib import ExitStack
from uuid import uuid4

import pytest

from taskflow.http.places import Places
from taskflow.kernel.errors import Unavailable

ONE, OTHER, THIRD = uuid4(), uuid4(), uuid4()


def test_a_namespace_gets_half_of_the_places_and_all_together_get_all() -> None:
    places = Places("streams are open", code="too_many", retry_after_s=5.0)
    with ExitStack() as held:
        for namespace in (ONE, ONE):
            places.check(namespace, 4)
            held.enter_context(places.hold(namespace))
        with pytest.raises(Unavailable, match=r"^2 streams are open for this namespace"):
            places.check(ONE, 4)
        for namespace in (OTHER, THIRD):
            places.check(namespace, 4)
            held.enter_context(places.hold(namespace))
        with pytest.raises(Unavailable, match=r"^4 streams are open, the limit") as refused:
            places.check(THIRD, 4)
        assert (refused.value.code, refused.value.retry_after_s) == ("too_many", 5.0)
    places.check(ONE, 4)


def test_a_place_is_free_again_whatever_happened_in_it() -> None:
    places = Places("uploads are under way", retry_after_s=1.0)
    for _ in range(3):
        places.check(ONE, 1)
        with pytest.raises(ValueError, match="broken"), places.hold(ONE):
            raise ValueError("broken")
    with places.hold(ONE), pytest.raises(Unavailable):
        places.check(OTHER, 1)
    with pytest.raises(Unavailable):
        places.check(ONE, 0)
