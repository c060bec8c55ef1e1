from tests.contracts.person_store import PersonStoreContract
from tests.engines import OnSQLite


class TestSQLPersonStoreOnSQLite(OnSQLite, PersonStoreContract):
    pass
