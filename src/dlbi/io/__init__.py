"""Reading and writing: movies, images, reconstructions, emitter tables and provenance."""
