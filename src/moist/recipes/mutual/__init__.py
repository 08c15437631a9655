"""Studies of mutual distillation among experts: MoE, MoDE and a dense network of the same active cost, side by side."""

__all__: list[str] = []
