"""Models, data sets, variants, measurements and sensitivities."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Table, delete, insert, or_, select, union, update
from sqlalchemy.engine import Connection

from ..errors import StoreError
from .connection import Rows, clean_name, free_name, new_id, now
from .reading import once
from .records import Dataset, Measurement, Model, Sensitivity, Variant
from .tables import datasets, measurements, models, sensitivities, sessions, variants

__all__ = ["ResultRows"]


class ResultRows(Rows):
    """The part of ``Store`` that knows models, data and what was made of them."""

    def add_model(
        self,
        *,
        id: str,
        name: str,
        spec: Mapping[str, Any],
        description: Mapping[str, Any],
        artifact: str,
        weights_artifact: str,
    ) -> Model:
        """Store a model under the fingerprint of its graph and tensors; the same content again refreshes the row."""
        values = {
            "name": clean_name(name, "model"),
            "spec": dict(spec),
            "description": dict(description),
            "artifact": artifact,
            "weights_artifact": weights_artifact,
        }
        with self._write() as connection:
            self._put(connection, models, id, values)
            return Model.model_validate(self._row(connection, models, id, "model"))

    @once
    def get_model(self, model_id: str) -> Model:
        """The model with this id, or StoreError."""
        with self._read() as connection:
            return Model.model_validate(self._row(connection, models, model_id, "model"))

    def add_dataset(self, *, id: str, name: str, spec: Mapping[str, Any], description: Mapping[str, Any]) -> Dataset:
        """Store a data set under its fingerprint; the same content again refreshes the row."""
        values = {"name": clean_name(name, "data"), "spec": dict(spec), "description": dict(description)}
        with self._write() as connection:
            self._put(connection, datasets, id, values)
            return Dataset.model_validate(self._row(connection, datasets, id, "data set"))

    @once
    def get_dataset(self, data_id: str) -> Dataset:
        """The data set with this id, or StoreError."""
        with self._read() as connection:
            return Dataset.model_validate(self._row(connection, datasets, data_id, "data set"))

    def add_variant(
        self,
        *,
        session_id: str,
        name: str,
        model_id: str,
        data_id: str,
        artifact: str,
        parent_id: str | None = None,
        job_id: str | None = None,
        plan: Mapping[str, Any] | None = None,
        evaluation_artifact: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        sizes: Mapping[str, Any] | None = None,
        layers: Sequence[Mapping[str, Any]] = (),
    ) -> Variant:
        """Store a variant; a name that the session already uses gets a number, so that tables stay readable."""
        with self._write() as connection:
            self._row(connection, sessions, session_id, "session")
            taken = set(connection.scalars(select(variants.c.name).where(variants.c.session_id == session_id)))
            variant_id = new_id()
            values = {
                "id": variant_id,
                "session_id": session_id,
                "name": free_name(clean_name(name, "variant"), taken),
                "model_id": model_id,
                "data_id": data_id,
                "artifact": artifact,
                "parent_id": parent_id,
                "job_id": job_id,
                "plan": None if plan is None else dict(plan),
                "evaluation_artifact": evaluation_artifact,
                "metrics": dict(metrics or {}),
                "sizes": dict(sizes or {}),
                "layers": [dict(layer) for layer in layers],
                "created": now(),
            }
            connection.execute(insert(variants).values(values))
            connection.execute(update(sessions).where(sessions.c.id == session_id).values(updated=now()))
            return Variant.model_validate(self._row(connection, variants, variant_id, "variant"))

    @once
    def get_variant(self, variant_id: str) -> Variant:
        """The variant with this id, or StoreError."""
        with self._read() as connection:
            return Variant.model_validate(self._row(connection, variants, variant_id, "variant"))

    @once
    def variants(self, session_id: str) -> list[Variant]:
        """The variants of a session in order of creation: the dense one first."""
        query = select(variants).where(variants.c.session_id == session_id).order_by(variants.c.number)
        with self._read() as connection:
            return [Variant.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    @once
    def dense_variant(self, session_id: str) -> Variant | None:
        """The model as it was opened: the session's variant without a plan; None while there is none."""
        mine = (variants.c.session_id == session_id) & variants.c.plan.is_(None)
        query = select(variants).where(mine).order_by(variants.c.number).limit(1)
        with self._read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else Variant.model_validate(dict(row))

    def variants_on(self, data_id: str, *, limit: int = 100, owner: str | None = None) -> list[tuple[str, str, str]]:
        """Name of the session, name and model artifact of the newest variants on these data, in whatever session (of
        one owner)."""
        query = (
            select(sessions.c.name, variants.c.name, variants.c.artifact)
            .join(sessions, variants.c.session_id == sessions.c.id)
            .where(variants.c.data_id == data_id)
            .order_by(variants.c.number.desc())
            .limit(limit)
        )
        if owner is not None:
            query = query.where(sessions.c.owner == owner)
        with self._read() as connection:
            return [(session, name, artifact) for session, name, artifact in connection.execute(query)]

    def rename_variant(self, variant_id: str, name: str) -> Variant:
        """The variant under a new label, with a number behind it when another one of its session has that label."""
        with self._write() as connection:
            row = self._row(connection, variants, variant_id, "variant")
            others = (variants.c.session_id == row["session_id"]) & (variants.c.id != variant_id)
            taken = connection.scalars(select(variants.c.name).where(others)).all()
            label = free_name(clean_name(name, "variant"), taken)
            connection.execute(update(variants).where(variants.c.id == variant_id).values(name=label))
            return Variant.model_validate(self._row(connection, variants, variant_id, "variant"))

    def delete_variant(self, variant_id: str) -> None:
        """Delete a variant with its measurements.

        Raises:
            StoreError: for a variant that others were made from (the dense one): they are compared against it.
        """
        with self._write() as connection:
            self._row(connection, variants, variant_id, "variant")
            children = connection.scalars(select(variants.c.name).where(variants.c.parent_id == variant_id)).all()
            if children:
                raise StoreError(
                    f"This variant cannot be deleted while others are compared against it ({', '.join(children[:3])}"
                    f"{', …' if len(children) > 3 else ''}); delete those first."
                )
            connection.execute(delete(variants).where(variants.c.id == variant_id))

    def add_measurement(
        self, *, variant_id: str, kind: str, context: Mapping[str, Any], result: Mapping[str, Any]
    ) -> Measurement:
        """Store one measurement (``kind``: latency, onnx) of a variant."""
        measurement_id = new_id()
        values = {
            "id": measurement_id,
            "variant_id": variant_id,
            "kind": kind,
            "context": dict(context),
            "result": dict(result),
            "created": now(),
        }
        with self._write() as connection:
            self._row(connection, variants, variant_id, "variant")
            connection.execute(insert(measurements).values(values))
            return Measurement.model_validate(self._row(connection, measurements, measurement_id, "measurement"))

    def get_measurement(self, measurement_id: str) -> Measurement:
        """The measurement with this id, or StoreError."""
        with self._read() as connection:
            return Measurement.model_validate(self._row(connection, measurements, measurement_id, "measurement"))

    @once
    def measurements(self, variant_id: str, kind: str | None = None) -> list[Measurement]:
        """The measurements of a variant, oldest first."""
        query = select(measurements).where(measurements.c.variant_id == variant_id).order_by(measurements.c.number)
        if kind is not None:
            query = query.where(measurements.c.kind == kind)
        with self._read() as connection:
            return [Measurement.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    def put_sensitivity(
        self,
        *,
        key: str,
        model_id: str,
        data_id: str,
        settings: Mapping[str, Any],
        result: Mapping[str, Any],
        complete: bool,
    ) -> Sensitivity:
        """Store a sensitivity under the hash of its content (``key``), replacing an earlier, less complete one."""
        values = {
            "model_id": model_id,
            "data_id": data_id,
            "settings": dict(settings),
            "result": dict(result),
            "complete": complete,
            "created": now(),
        }
        with self._write() as connection:
            found = connection.execute(
                select(sensitivities.c.id).where(sensitivities.c.key == key)
            ).scalar_one_or_none()
            if found is None:
                found = new_id()
                connection.execute(insert(sensitivities).values(id=found, key=key, **values))
            else:
                connection.execute(update(sensitivities).where(sensitivities.c.id == found).values(**values))
            return Sensitivity.model_validate(self._row(connection, sensitivities, found, "sensitivity"))

    def get_sensitivity(self, key: str) -> Sensitivity:
        """The sensitivity with this key or id, or StoreError."""
        found = self.find_sensitivity(key)
        if found is None:
            raise StoreError("This sensitivity has not been measured in this workspace yet.")
        return found

    def find_sensitivity(self, key: str) -> Sensitivity | None:
        """The sensitivity with this key or id, or None."""
        query = select(sensitivities).where(or_(sensitivities.c.key == key, sensitivities.c.id == key))
        with self._read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else Sensitivity.model_validate(dict(row))

    @once
    def sensitivities(self, model_id: str, data_id: str) -> list[Sensitivity]:
        """What was measured of this model on these data, newest last."""
        query = (
            select(sensitivities)
            .where(sensitivities.c.model_id == model_id, sensitivities.c.data_id == data_id)
            .order_by(sensitivities.c.created, sensitivities.c.number)
        )
        with self._read() as connection:
            return [Sensitivity.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    def delete_unused(self, *, older_than_s: float) -> None:
        """Delete models and data sets that no session and no variant names, and that are older than this."""
        limit = now() - timedelta(seconds=older_than_s)
        with self._write() as connection:
            for table, column in ((models, "model_id"), (datasets, "data_id")):
                used = union(
                    select(sessions.c[column]).where(sessions.c[column].is_not(None)), select(variants.c[column])
                )
                connection.execute(delete(table).where(table.c.created <= limit, table.c.id.not_in(used)))

    @staticmethod
    def _put(connection: Connection, table: Table, id: str, values: Mapping[str, Any]) -> None:
        if connection.execute(update(table).where(table.c.id == id).values(**values)).rowcount == 0:
            connection.execute(insert(table).values(id=id, created=now(), **values))
