"""The names and widths of the tables, once. The migrations make them."""

FACES = "IMAGE_DATASET"
MODELS = "FACESEARCH_MODEL"
STATE = "FACESEARCH_STATE"
VERSIONS = "FACESEARCH_VERSION"

# The newest migration. Compared as text: revisions are numbers of four digits.
SCHEMA_VERSION = "0001"

NAME_WIDTH = 255
FILE_NAME_WIDTH = 1024
MODEL_ID_WIDTH = 64
TAKEN_AT_WIDTH = 40
VECTOR_BYTES = 4096
MAX_DIMENSION = VECTOR_BYTES // 4
