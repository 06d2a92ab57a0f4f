"""What an operator can do: each operation is declared once; the engine gathers, plans, runs, verifies and resumes. The one way in which anything is changed."""
