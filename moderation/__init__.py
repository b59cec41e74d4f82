"""From what was found in a text to what happens: verdicts, dispositions, ladders, cases, rota. Pure decisions."""
