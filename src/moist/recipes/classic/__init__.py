"""Studies of the classic estimators: cross-validation on tables beside their rivals, and conditional densities."""

__all__: list[str] = []
