"""coldtui: the console from which a small team operates one K3s site."""

__version__ = "0.1.0"
