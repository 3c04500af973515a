"""From a structure image to a movie: shapes, scenes, blinking, emission, camera frames."""
